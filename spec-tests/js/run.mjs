// Two people and a third device with a real client against a running server, whose URL is in DEPESCHE_URL.
//
// Each device is an operating-system process of its own (client.mjs). A check looks at what *another* process than the
// acting one received and decrypted, never at a local echo. Ends with one line `N passed, N failed`.

import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";

const url = process.env.DEPESCHE_URL;
if (!url) throw new Error("DEPESCHE_URL is not set: the server to test");
const password = "correct horse battery staple";
const tag = randomBytes(4).toString("hex");

/** A device: a child process that is asked by `device.verb(args)`. */
function device(label) {
    const child = fork(new URL("client.mjs", import.meta.url), { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    const open = new Map();
    let count = 0;
    child.on("message", ({ id, value, error }) => {
        const { resolve, reject } = open.get(id);
        open.delete(id);
        error ? reject(new Error(`${label}: ${error}`)) : resolve(value);
    });
    child.on("exit", (code) => {
        for (const { reject } of open.values()) reject(new Error(`${label} ended with ${code}`));
    });
    const ask = (verb) => (args) =>
        new Promise((resolve, reject) => {
            open.set(++count, { resolve, reject });
            child.send({ id: count, verb, args });
        });
    return new Proxy({ child }, { get: (target, verb) => (verb in target ? target[verb] : ask(verb)) });
}

async function register(name) {
    const response = await fetch(`${url}/_matrix/client/v3/register`, {
        method: "POST",
        body: JSON.stringify({ username: name, password, inhibit_login: true, auth: { type: "m.login.dummy" } }),
    });
    const body = await response.json();
    assert.equal(response.status, 200, JSON.stringify(body));
    return body.user_id;
}

let passed = 0;
let failed = 0;

// Nothing here takes minutes; a client that hangs must not take the time of everything else.
setTimeout(() => {
    console.log(`FAILED   not done after five minutes\n${passed} passed, ${failed + 1} failed`);
    end();
    process.exit(1);
}, 300_000).unref();

/** A promise and its check. What follows builds on it: after a failure the rest counts as failed too. */
async function check(promise, act) {
    if (failed) {
        failed += 1;
        console.log(`not run  ${promise}`);
        return;
    }
    try {
        await act();
        passed += 1;
        console.log(`ok       ${promise}`);
    } catch (error) {
        failed += 1;
        console.log(`FAILED   ${promise}\n${error.stack}`);
    }
}

/** A stopped process does not end by itself. */
function end() {
    for (const { child } of [alice, bob, tablet]) child.kill("SIGKILL");
}

const text = (body, more = {}) => ({ msgtype: "m.text", body, ...more });
/** Encrypted on the wire, readable in the process that is asked. */
const from = (who, content, type = "m.room.message") => ({ sender: who, wireType: "m.room.encrypted", type, content });

const [alice, bob, tablet] = [device("alice"), device("bob"), device("alice's tablet")];
const ids = {};
let room, hello, recovery, tabletId;

await check("two people log in, each with a device that has keys", async () => {
    ids.alice = await register(`alice-${tag}`);
    ids.bob = await register(`bob-${tag}`);
    ids.aliceDevice = (await alice.start({ url, user: ids.alice, password })).device;
    // A short timeline, so that what bob misses leaves a gap.
    ids.bobDevice = (await bob.start({ url, user: ids.bob, password, timelineLimit: 5 })).device;
});

await check("both set up cross-signing, secret storage and a key backup", async () => {
    recovery = (await alice.bootstrap({ password })).recoveryKey;
    await bob.bootstrap({ password });
});

await check("an invite to an encrypted room arrives and is accepted", async () => {
    room = (await alice.createRoom({ name: "Encrypted", invite: [ids.bob] })).room;
    await bob.membership({ room, is: "invite" });
    await bob.join({ room });
    await bob.membership({ room, is: "join" });
    await alice.memberIs({ room, user: ids.bob, is: "join" });
});

await check("bob decrypts what alice writes", async () => {
    hello = (await alice.send({ room, content: text("hello bob") })).id;
    const event = await bob.expect({ wanted: from(ids.alice, { body: "hello bob" }) });
    assert.equal(event.id, hello);
});

await check("alice decrypts what bob writes", async () => {
    await bob.send({ room, content: text("hello alice") });
    await alice.expect({ wanted: from(ids.bob, { body: "hello alice" }) });
});

await check("a reply arrives with its relation", async () => {
    await bob.send({ room, content: text("I reply", { "m.relates_to": { "m.in_reply_to": { event_id: hello } } }) });
    const event = await alice.expect({ wanted: from(ids.bob, { body: "I reply" }) });
    assert.equal(event.content["m.relates_to"]["m.in_reply_to"].event_id, hello);
});

await check("an edit arrives with its new content", async () => {
    await alice.send({
        room,
        content: text("* hello dear bob", {
            "m.new_content": text("hello dear bob"),
            "m.relates_to": { rel_type: "m.replace", event_id: hello },
        }),
    });
    const event = await bob.expect({ wanted: from(ids.alice, { "m.new_content": { body: "hello dear bob" } }) });
    assert.equal(event.relation.event_id, hello);
});

await check("a reaction arrives", async () => {
    const content = { "m.relates_to": { rel_type: "m.annotation", event_id: hello, key: "👍" } };
    await bob.send({ room, type: "m.reaction", content });
    await alice.expect({ wanted: { sender: ids.bob, type: "m.reaction", relation: { event_id: hello, key: "👍" } } });
});

/** Both show the same emoji; both say so. */
async function compare(one, other) {
    await one.startSas();
    const [mine, theirs] = await Promise.all([one.sas(), other.sas()]);
    assert.equal(mine.length, 7);
    assert.deepEqual(mine, theirs);
    await Promise.all([one.confirmSas(), other.confirmSas()]);
}

await check("alice and bob verify each other by emoji", async () => {
    await alice.requestVerification({ user: ids.bob, room });
    await bob.acceptVerification();
    await compare(alice, bob);
    await alice.userIsVerified({ user: ids.bob });
    await bob.userIsVerified({ user: ids.alice });
});

await check("a third device logs in and is verified by the first", async () => {
    await alice.backedUp({ sessions: 2 });
    tabletId = (await tablet.start({ url, user: ids.alice, password, recoveryKey: recovery })).device;
    await tablet.requestVerification({});
    await alice.acceptVerification();
    await compare(tablet, alice);
    await bob.deviceIsSigned({ user: ids.alice, device: tabletId });
});

await check("the third device restores the key backup and reads what was before it", async () => {
    const { total, imported } = await tablet.restoreBackup();
    assert.ok(total >= 2 && imported === total, `${imported} of ${total} sessions`);
    const texts = await tablet.history({ room });
    // The library shows an edited message with its new content.
    for (const body of ["hello dear bob", "hello alice", "I reply"]) assert.ok(texts.includes(body), `${body}: ${texts}`);
});

await check("what bob writes now reaches both devices of alice", async () => {
    await bob.send({ room, content: text("to both") });
    for (const reader of [alice, tablet]) await reader.expect({ wanted: from(ids.bob, { body: "to both" }) });
});

await check("what the third device writes is decrypted by the first and by bob", async () => {
    await tablet.send({ room, content: text("from the tablet") });
    for (const reader of [alice, bob]) await reader.expect({ wanted: from(ids.alice, { body: "from the tablet" }) });
});

await check("after many messages the sync is limited, and the gap is filled without a loss", async () => {
    const many = Array.from({ length: 40 }, (_, n) => `message ${n}`);
    await bob.countResets();
    bob.child.kill("SIGSTOP");
    for (const body of many) await alice.send({ room, content: text(body) });
    bob.child.kill("SIGCONT");
    await bob.expect({ wanted: from(ids.alice, { body: many.at(-1) }) });
    assert.ok((await bob.resets()) > 0, "the sync had no gap");
    const texts = await bob.history({ room });
    assert.deepEqual(texts.filter((body) => body.startsWith("message ")), many);
});

await check("who leaves gets nothing more, and is seen to have left", async () => {
    await bob.leave({ room });
    await alice.memberIs({ room, user: ids.bob, is: "leave" });
    const { id } = await alice.send({ room, content: text("behind his back") });
    await tablet.expect({ wanted: from(ids.alice, { body: "behind his back" }) });
    await bob.membership({ room, is: "leave" });
    assert.ok(!(await bob.seen({ room })).some((event) => event.id === id));
});

await check("who is invited again comes back and reads on", async () => {
    await alice.invite({ room, user: ids.bob });
    await bob.membership({ room, is: "invite" });
    await bob.join({ room });
    await alice.memberIs({ room, user: ids.bob, is: "join" });
    await alice.send({ room, content: text("welcome back") });
    await bob.expect({ wanted: from(ids.alice, { body: "welcome back" }) });
});

end();
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
