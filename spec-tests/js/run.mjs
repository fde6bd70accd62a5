// Two people and a third device with a real client against a running server, whose URL is in DEPESCHE_URL.
//
// A check looks at what *another* process than the acting one received and decrypted, never at a local echo.

import assert from "node:assert/strict";
import { check, device, end, from, password, register, text, url } from "./people.mjs";

const [alice, bob, tablet] = [device("alice"), device("bob"), device("alice's tablet")];
const ids = {};
let room, hello, recovery, tabletId;

await check("two people log in, each with a device that has keys", async () => {
    ids.alice = await register("alice");
    ids.bob = await register("bob");
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
