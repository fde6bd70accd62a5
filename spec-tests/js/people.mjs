// What the runs have in common: devices, each an operating-system process of its own (client.mjs), that are asked by
// `device.verb(args)`; accounts; and checks, counted in one last line `N passed, N failed`.

import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";

export const url = process.env.DEPESCHE_URL;
if (!url) throw new Error("DEPESCHE_URL is not set: the server to test");
export const password = "correct horse battery staple";
const tag = randomBytes(4).toString("hex");
const children = [];

/** A device: a child process that is asked by `device.verb(args)`. */
export function device(label) {
    const child = fork(new URL("client.mjs", import.meta.url), { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    children.push(child);
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

/** A new account whose name begins so; its user id. */
export async function register(name) {
    const response = await fetch(`${url}/_matrix/client/v3/register`, {
        method: "POST",
        body: JSON.stringify({ username: `${name}-${tag}`, password, inhibit_login: true, auth: { type: "m.login.dummy" } }),
    });
    const body = await response.json();
    assert.equal(response.status, 200, JSON.stringify(body));
    return body.user_id;
}

let passed = 0;
let failed = 0;

// Nothing here takes minutes; a client that hangs must not take the time of everything else.
setTimeout(() => {
    console.log("FAILED   not done after five minutes");
    failed += 1;
    end();
}, 300_000).unref();

/** A promise and its check. What follows builds on it: after a failure the rest counts as failed too. */
export async function check(promise, act) {
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

/** Ends the devices, and the run. */
export function end() {
    // A stopped process does not end by itself.
    for (const child of children) child.kill("SIGKILL");
    console.log(`${passed} passed, ${failed} failed`);
    process.exit(failed ? 1 : 0);
}

export const text = (body, more = {}) => ({ msgtype: "m.text", body, ...more });
/** Encrypted on the wire, readable in the process that is asked. */
export const from = (who, content, type = "m.room.message") => ({ sender: who, wireType: "m.room.encrypted", type, content });
