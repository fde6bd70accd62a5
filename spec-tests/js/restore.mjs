// A server comes back from a backup, and clients that know more than it does go on: real clients with their own encryption,
// alive all the time, beside `with_disaster`, which does to the server what is asked on standard output.
//
// A check looks at what *another* process than the acting one received and decrypted, never at a local echo.

import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { check, device, end, from, password, register, text, url } from "./people.mjs";

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has something done to the server: `backup`; or `disaster`, which kills it and brings the backup back. */
async function have(what) {
    console.log(`>> ${what}`);
    assert.equal((await answers.next()).value, "done");
}

const [alice, bob] = [device("alice"), device("bob")];
const [phone, tablet] = [device("bob's phone"), device("alice's tablet")];
const ids = {};
let room, recovery, tabletId;

await check("two people chat in an encrypted room", async () => {
    ids.alice = await register("alice");
    ids.bob = await register("bob");
    await alice.start({ url, user: ids.alice, password });
    await bob.start({ url, user: ids.bob, password });
    recovery = (await alice.bootstrap({ password })).recoveryKey;
    room = (await alice.createRoom({ name: "Encrypted", invite: [ids.bob] })).room;
    await bob.membership({ room, is: "invite" });
    await bob.join({ room });
    await alice.memberIs({ room, user: ids.bob, is: "join" });
    await alice.send({ room, content: text("hello bob") });
    await bob.expect({ wanted: from(ids.alice, { body: "hello bob" }) });
    await bob.send({ room, content: text("hello alice") });
    await alice.expect({ wanted: from(ids.bob, { body: "hello alice" }) });
    await alice.backedUp({ sessions: 2 });
});

await check("the server is backed up, and they go on: with new keys, and another device", async () => {
    await have("backup");
    const { device: phoneId } = await phone.start({ url, user: ids.bob, password });
    await alice.knows({ user: ids.bob, device: phoneId });
    await alice.newSession({ room });
    await alice.send({ room, content: text("lost") });
    for (const reader of [bob, phone]) await reader.expect({ wanted: from(ids.alice, { body: "lost" }) });
    await phone.send({ room, content: text("lost as well") });
    for (const reader of [alice, bob]) await reader.expect({ wanted: from(ids.bob, { body: "lost as well" }) });
});

await check("the server is killed, and comes back from the backup", () => have("disaster"));

await check("what alice writes in the session from before is decrypted by bob", async () => {
    await alice.send({ room, content: text("I am still here") });
    await bob.expect({ wanted: from(ids.alice, { body: "I am still here" }) });
});

await check("new sessions reach the other, both ways", async () => {
    await bob.newSession({ room });
    await bob.send({ room, content: text("so am I") });
    await alice.expect({ wanted: from(ids.bob, { body: "so am I" }) });
    await alice.newSession({ room });
    await alice.send({ room, content: text("good") });
    await bob.expect({ wanted: from(ids.alice, { body: "good" }) });
});

await check("a device that came after the backup learns that it has to log in again", () => phone.loggedOut());

await check("a third device logs in and is found by the others", async () => {
    tabletId = (await tablet.start({ url, user: ids.alice, password, recoveryKey: recovery })).device;
    await bob.knows({ user: ids.alice, device: tabletId });
    await alice.knows({ user: ids.alice, device: tabletId });
});

await check("what the others write now is decrypted by the third device", async () => {
    await bob.send({ room, content: text("to the tablet") });
    for (const reader of [tablet, alice]) await reader.expect({ wanted: from(ids.bob, { body: "to the tablet" }) });
    await alice.send({ room, content: text("to it from alice") });
    for (const reader of [tablet, bob]) await reader.expect({ wanted: from(ids.alice, { body: "to it from alice" }) });
});

await check("what the third device writes, with keys it claimed, is decrypted by the others", async () => {
    await tablet.send({ room, content: text("from the tablet") });
    for (const reader of [alice, bob]) await reader.expect({ wanted: from(ids.alice, { body: "from the tablet" }) });
});

await check("the third device reads from the key backup what was before the server's", async () => {
    const { total, imported } = await tablet.restoreBackup();
    assert.ok(total >= 2 && imported === total, `${imported} of ${total} sessions`);
    await tablet.expect({ wanted: from(ids.alice, { body: "hello bob" }) });
    await tablet.expect({ wanted: from(ids.bob, { body: "hello alice" }) });
});

await check("bob's client shows what the server has, once and in order, and may keep what was lost", async () => {
    const texts = (await bob.history({ room })).filter((body) => !body.startsWith("lost"));
    const before = ["hello bob", "hello alice", "I am still here", "so am I", "good"];
    assert.deepEqual(texts, [...before, "to the tablet", "to it from alice", "from the tablet"]);
});

end();
