// Two people in two browsers with Hydrogen against a running server, whose URL is in DEPESCHE_URL.
//
// Everything is done as a person does it, in the page: log in, create a room, invite, write, send a picture. A check
// looks at the DOM of the *other* browser. Ends with one line `N passed, N failed`; DEPESCHE_PICTURES=<folder> keeps a
// screenshot of each browser.

import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { randomBytes } from "node:crypto";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const url = process.env.DEPESCHE_URL;
if (!url) throw new Error("DEPESCHE_URL is not set: the server to test");
const here = dirname(fileURLToPath(import.meta.url));
const password = "correct horse battery staple";
const tag = randomBytes(4).toString("hex");
const PATIENCE_MS = 30_000;

/** The page and what it loads, in a folder of its own. */
async function site() {
    const folder = await mkdtemp(join(tmpdir(), "hydrogen-"));
    const modules = join(here, "node_modules");
    const sdk = join(modules, "hydrogen-view-sdk");
    const olm = join(modules, "@matrix-org", "olm");
    const files = [
        [join(here, "index.html"), "index.html"],
        [join(sdk, "lib-build", "sw.js"), "sw.js"],
        [join(sdk, "asset-build", "assets"), "."],
        ...["olm.wasm", "olm.js", "olm_legacy.js"].map((name) => [join(olm, name), name]),
    ];
    for (const [from, to] of files) await cp(from, join(folder, to), { recursive: true });
    await build({
        entryPoints: [join(here, "page.mjs")],
        outfile: join(folder, "page.js"),
        bundle: true,
        format: "esm",
        platform: "browser",
        // The library names them for Node, and does not ask for them in a browser.
        external: ["path", "fs", "crypto"],
        logLevel: "error",
    });
    return folder;
}

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".wasm": "application/wasm" };

/** Serves a folder on a port of its own. */
async function serve(folder) {
    const server = createServer((request, response) => {
        const path = new URL(request.url, "http://page").pathname;
        const file = join(folder, path === "/" ? "index.html" : path);
        const stream = createReadStream(file);
        stream.on("error", () => response.writeHead(404).end());
        stream.on("open", () => {
            response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
            stream.pipe(response);
        });
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    return { server, address: `http://localhost:${server.address().port}/` };
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

/** A person: a browser profile of their own. */
async function person(browser, name) {
    const context = await browser.newContext({ viewport: { width: 1000, height: 700 } });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const log = [];
    page.on("console", (message) => log.push(message.text()));
    page.on("pageerror", (error) => log.push(String(error)));
    return { name, id: await register(name), page, log };
}

let passed = 0;
let failed = 0;

/** A promise and its check. What follows builds on it: after a failure the rest counts as failed too. */
async function check(promise, act) {
    if (failed) {
        failed += 1;
        return void console.log(`not run  ${promise}`);
    }
    try {
        await act();
        passed += 1;
        console.log(`ok       ${promise}`);
    } catch (error) {
        failed += 1;
        console.log(`FAILED   ${promise}\n${error.stack}`);
        for (const { name, page, log } of people) {
            console.log(`${name} sees:\n${(await page.locator("body").innerText().catch(String)).slice(0, 2000)}`);
            console.log(log.slice(-10).join("\n"));
        }
    }
}

const folder = await site();
const { server, address } = await serve(folder);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
const [alice, bob] = [await person(browser, `alice-${tag}`), await person(browser, `bob-${tag}`)];
const people = [alice, bob];

async function logIn({ name, page }) {
    await page.goto(`${address}?server=${encodeURIComponent(url)}`);
    await page.locator("#homeserver").fill(url);
    await page.locator("#username").fill(name);
    await page.locator("#password").fill(password);
    await page.getByRole("button", { name: "Log In" }).click();
    // Where a client asks how to get old messages back, there are none yet.
    const later = page.getByRole("button", { name: /continue without|skip/i });
    await Promise.race([later.click(), page.locator(".LeftPanel").waitFor()]).catch(() => {});
    await page.locator(".LeftPanel").waitFor();
}

const message = (text) => `.Timeline_messageBody:has-text(${JSON.stringify(text)})`;
const write = async ({ page }, text) => {
    await page.locator(".MessageComposer_input textarea").fill(text);
    await page.locator(".MessageComposer_input textarea").press("Enter");
};

/**
 * Opens a room that the person just made. While a room is being made, Hydrogen lists it under an id of its own, in turn
 * with the room itself or beside it, and a click in the moment of the change opens nothing. People click again.
 */
async function open({ page }, name) {
    const composer = page.locator(".MessageComposer_input textarea");
    const end = Date.now() + PATIENCE_MS;
    const opened = async () => {
        await page.locator(".RoomList li", { hasText: name }).first().click({ timeout: 2_000 });
        await composer.waitFor({ timeout: 2_000 });
        return true;
    };
    while (!(await opened().catch(() => false))) assert.ok(Date.now() < end, `${name} does not open`);
}

const sees = ({ page }, text) => page.locator(message(text)).first().waitFor();

await check("two people log in, each in a browser of their own", () => Promise.all(people.map(logIn)));

await check("one creates a room in the page", async () => {
    const { page } = alice;
    await page.locator(".LeftPanel .create").click();
    await page.getByText("Create Room", { exact: true }).click();
    await page.locator("#name").fill("Registry office");
    await page.locator("#isEncrypted").setChecked(false, { force: true });
    await page.locator(".CreateRoomView_detailsForm [type=submit]").click();
    await open(alice, "Registry office");
});

await check("the other is invited and joins in the page", async () => {
    const { page } = alice;
    const token = await page.evaluate(() => JSON.parse(localStorage.getItem("hydrogen_sessions_v1"))[0].accessToken);
    const { joined_rooms: rooms } = await api(token, "GET", "joined_rooms");
    await api(token, "POST", `rooms/${encodeURIComponent(rooms[0])}/invite`, { user_id: bob.id });
    await bob.page.locator(".RoomList li", { hasText: "Registry office" }).click();
    await bob.page.getByRole("button", { name: "Accept" }).click();
    await bob.page.locator(".MessageComposer_input textarea").waitFor();
});

await check("each reads what the other writes", async () => {
    await write(alice, "Good morning");
    await sees(bob, "Good morning");
    await write(bob, "Good morning to you");
    await sees(alice, "Good morning to you");
});

await check("the other sees the picture that one sends", async () => {
    const { page } = alice;
    const chooser = page.waitForEvent("filechooser");
    await page.locator(".MessageComposer_input .sendFile").click();
    await page.getByText("Send picture").click();
    await (await chooser).setFiles(join(here, "grey.png"));
    const picture = bob.page.locator(".Timeline_message .media img");
    await picture.waitFor();
    // Loaded and decoded by the browser, through the service worker that adds the token.
    const width = await bob.page.waitForFunction(
        () => document.querySelector(".Timeline_message .media img")?.naturalWidth,
        undefined,
        { timeout: PATIENCE_MS },
    );
    assert.ok((await width.jsonValue()) > 0);
    const source = await picture.getAttribute("src");
    assert.match(source, /_matrix\/client\/v1\/media\/|^blob:/);
});

async function api(token, method, path, body) {
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(`${url}/_matrix/client/v3/${path}`, { method, headers, body: body && JSON.stringify(body) });
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
}

if (process.env.DEPESCHE_PICTURES) {
    for (const { name, page } of people) {
        await page.screenshot({ path: join(process.env.DEPESCHE_PICTURES, `hydrogen-${name.split("-")[0]}.png`) });
    }
}
await browser.close();
server.close();
await rm(folder, { recursive: true });
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
