// One person on one device: matrix-js-sdk with its Rust crypto, in a process of its own. Driven over the IPC channel by
// people.mjs: `{ id, verb, args }` in, `{ id, value }` or `{ id, error }` out. Knows nothing of what is being tested.

// matrix-js-sdk asks for Node 22; this is what Node 20 lacks of it.
Promise.withResolvers ??= function () {
    let resolve, reject;
    const promise = new Promise((yes, no) => ([resolve, reject] = [yes, no]));
    return { promise, resolve, reject };
};

const sdk = await import("matrix-js-sdk");
const { logger } = await import("matrix-js-sdk/lib/logger.js");
const crypto = await import("matrix-js-sdk/lib/crypto-api/index.js");
logger.setLevel("silent", false);

const PATIENCE_MS = 60_000;
let client, storageKey, verification, loggedOut;
const seen = new Map(); // event id -> what this process made of the event

/** Waits until `probe` gives something, looking again whenever the client tells of anything. */
async function until(what, probe) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
        const value = await probe();
        if (value) return value;
        if (Date.now() > deadline) throw new Error(`${client.getUserId()}: not seen: ${what}\n${summary()}`);
        await new Promise((wake) => setTimeout(wake, 50));
    }
}

const summary = () => [...seen.values()].map((event) => JSON.stringify(event)).slice(-15).join("\n");

/** Notes an event as it stands now: decrypted, or not yet. */
function note(event) {
    if (!event.getId() || event.status) return; // a local echo has a status; only what the server gave counts
    seen.set(event.getId(), {
        id: event.getId(),
        room: event.getRoomId(),
        sender: event.getSender(),
        wireType: event.getWireType(),
        type: event.getType(),
        content: event.getContent(),
        relation: event.getRelation(),
        undecryptable: event.isDecryptionFailure() || event.isBeingDecrypted(),
    });
}

function follow() {
    client.on("Room.timeline", (event) => {
        note(event);
        // The library does not tell of every event that it decrypts: not of those behind events that it had already.
        client.decryptEventIfNeeded(event).then(() => note(event));
    });
    client.on("Event.decrypted", note);
    client.on("crypto.verificationRequestReceived", (request) => (verification = request));
    client.on("Session.logged_out", () => (loggedOut = true));
}

const matches = (event, wanted) =>
    Object.entries(wanted).every(([key, value]) =>
        value !== null && typeof value === "object" ? matches(event?.[key] ?? {}, value) : event?.[key] === value,
    );

const cryptoCallbacks = {
    getSecretStorageKey: async ({ keys }) => storageKey && [Object.keys(keys)[0], storageKey],
    cacheSecretStorageKey: (_id, _info, key) => (storageKey = key),
};

const verbs = {
    async start({ url, user, password, recoveryKey, timelineLimit = 20 }) {
        const login = await sdk.createClient({ baseUrl: url }).loginRequest({
            type: "m.login.password",
            identifier: { type: "m.id.user", user },
            password,
        });
        if (recoveryKey) storageKey = crypto.decodeRecoveryKey(recoveryKey);
        client = sdk.createClient({
            baseUrl: url,
            accessToken: login.access_token,
            userId: login.user_id,
            deviceId: login.device_id,
            cryptoCallbacks,
            verificationMethods: ["m.sas.v1"],
            timelineSupport: true,
        });
        await client.initRustCrypto({ useIndexedDB: false });
        follow();
        await client.startClient({ initialSyncLimit: timelineLimit, lazyLoadMembers: true });
        await until("the first sync", () => client.isInitialSyncComplete());
        return { user: login.user_id, device: login.device_id };
    },

    /** Cross-signing, secret storage and a key backup, as a first device makes them. Gives the recovery key. */
    async bootstrap({ password }) {
        const api = client.getCrypto();
        const auth = { type: "m.login.password", identifier: { type: "m.id.user", user: client.getUserId() }, password };
        const authUploadDeviceSigningKeys = async (send) => {
            try {
                return await send(null);
            } catch (error) {
                if (error.httpStatus !== 401) throw error;
                return send({ ...auth, session: error.data.session });
            }
        };
        const key = await api.createRecoveryKeyFromPassphrase();
        await api.bootstrapSecretStorage({
            createSecretStorageKey: async () => key,
            setupNewSecretStorage: true,
            setupNewKeyBackup: true,
        });
        await api.bootstrapCrossSigning({ authUploadDeviceSigningKeys, setupNewCrossSigning: true });
        await api.checkKeyBackupAndEnable();
        await until("cross-signing", () => api.isCrossSigningReady());
        return { recoveryKey: key.encodedPrivateKey };
    },

    async createRoom({ name, invite }) {
        const { room_id: room } = await client.createRoom({
            name,
            invite,
            preset: "trusted_private_chat",
            initial_state: [
                { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } },
                { type: "m.room.history_visibility", state_key: "", content: { history_visibility: "shared" } },
            ],
        });
        await until("the encrypted room", () => client.getRoom(room)?.hasEncryptionStateEvent());
        return { room };
    },

    async membership({ room, is }) {
        await until(`${is} in ${room}`, () => client.getRoom(room)?.getMyMembership() === is);
    },

    async memberIs({ room, user, is }) {
        await until(`${user} is ${is}`, () => client.getRoom(room)?.getMember(user)?.membership === is);
    },

    // What the library returns is not for the wire.
    join: async ({ room }) => void (await client.joinRoom(room)),
    leave: async ({ room }) => void (await client.leave(room)),
    // The library's own invite hands over old keys through the media repository, which is not what is tested here.
    invite: async ({ room, user }) => {
        await client.http.authedRequest("POST", `/rooms/${encodeURIComponent(room)}/invite`, {}, { user_id: user });
    },

    async send({ room, type = "m.room.message", content }) {
        return { id: (await client.sendEvent(room, type, content)).event_id };
    },

    /** Waits for an event that another process sent and that this one could read. */
    async expect({ wanted }) {
        return until(JSON.stringify(wanted), () =>
            [...seen.values()].find((event) => !event.undecryptable && matches(event, wanted)),
        );
    },

    /** Encrypts what comes with keys that nobody has yet. */
    newSession: async ({ room }) => void (await client.getCrypto().forceDiscardSession(room)),

    /** Waits until this process knows the keys of a device, by what /sync told it. */
    async knows({ user, device }) {
        const devices = async () => (await client.getCrypto().getUserDeviceInfo([user], false)).get(user);
        await until(`the device ${device} of ${user}`, async () => (await devices())?.has(device));
    },

    async loggedOut() {
        await until("that the token is not valid any more", () => loggedOut);
    },

    seen: ({ room }) => [...seen.values()].filter((event) => event.room === room),

    /** Pages backwards to the room's beginning, over the gaps that a limited sync left; the texts in their order. */
    async history({ room }) {
        const window = new sdk.TimelineWindow(client, client.getRoom(room).getUnfilteredTimelineSet());
        await window.load(undefined, 30);
        while (await window.paginate("b", 30));
        const events = () => window.getEvents();
        await until("all of the history decrypted", () =>
            events().every((event) => !event.isBeingDecrypted() && !event.isDecryptionFailure()),
        );
        return events().filter((event) => event.getType() === "m.room.message").map((event) => event.getContent().body);
    },

    /** How often a sync left a gap, so that the timeline began anew. */
    async countResets() {
        globalThis.resets = 0;
        client.on("Room.timelineReset", () => (globalThis.resets += 1));
    },
    resets: () => globalThis.resets,

    // --- verification -------------------------------------------------------------------------------------------

    async requestVerification({ user, room }) {
        const api = client.getCrypto();
        if (user) await until("the keys of the other", async () => (await api.getUserDeviceInfo([user], true)).get(user)?.size);
        verification = user ? await api.requestVerificationDM(user, room) : await api.requestOwnUserVerification();
    },

    async acceptVerification() {
        await until("a request to verify", () => verification);
        await verification.accept();
    },

    async startSas() {
        await until("the request accepted", () => verification.phase === crypto.VerificationPhase.Ready);
        await verification.startVerification("m.sas.v1");
    },

    /** The emoji that this process shows. */
    async sas() {
        const verifier = await until("the verification started", () => verification.verifier);
        verifier.verify().then(
            () => (verification.finished = true),
            (error) => (verification.failed = error),
        );
        const shown = await until("the emoji", () => verifier.getShowSasCallbacks());
        return shown.sas.emoji.map(([symbol]) => symbol);
    },

    async confirmSas() {
        await verification.verifier.getShowSasCallbacks().confirm();
        await until("the verification finished", () => {
            if (verification.failed) throw verification.failed;
            return verification.finished;
        });
        verification = undefined;
    },

    async userIsVerified({ user }) {
        await until(`${user} verified`, async () =>
            (await client.getCrypto().getUserVerificationStatus(user)).isCrossSigningVerified(),
        );
    },

    async deviceIsSigned({ user, device }) {
        const api = client.getCrypto();
        await until(`${device} signed by ${user}`, async () => {
            await api.getUserDeviceInfo([user], true);
            return (await api.getDeviceVerificationStatus(user, device))?.crossSigningVerified;
        });
    },

    // --- backup -------------------------------------------------------------------------------------------------

    async backedUp({ sessions }) {
        await until(`${sessions} sessions in the backup`, async () => (await client.getCrypto().checkKeyBackupAndEnable())?.backupInfo.count >= sessions);
    },

    async restoreBackup() {
        const api = client.getCrypto();
        await api.loadSessionBackupPrivateKeyFromSecretStorage();
        const { total, imported } = await api.restoreKeyBackup();
        return { total, imported };
    },

    stop() {
        client?.stopClient();
        setImmediate(() => process.disconnect());
    },
};

process.on("message", async ({ id, verb, args }) => {
    try {
        process.send({ id, value: (await verbs[verb](args ?? {})) ?? null });
    } catch (error) {
        process.send({ id, error: String(error?.stack ?? error) });
    }
});
process.on("disconnect", () => process.exit(0));
