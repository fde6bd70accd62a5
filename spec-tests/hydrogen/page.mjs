// The page: the whole of Hydrogen, on the server named in the page's address (`?server=`).

import { FeatureSet, Platform, RootViewModel, createNavigation, createRouter } from "hydrogen-view-sdk";

const server = new URLSearchParams(location.search).get("server");
const platform = new Platform({
    container: document.getElementById("app"),
    assetPaths: {
        downloadSandbox: "download-sandbox.html",
        worker: "main.js",
        olm: { wasm: "olm.wasm", legacyBundle: "olm_legacy.js", wasmBundle: "olm.js" },
        serviceWorker: "sw.js",
    },
    config: { defaultHomeServer: server },
});
const navigation = createNavigation();
platform.setNavigation(navigation);
await platform.init();
const features = await FeatureSet.load(platform.settingsStorage);
const urlRouter = createRouter({ navigation, history: platform.history });
urlRouter.attach();
const root = new RootViewModel({ platform, urlRouter, navigation, features });
platform.createAndMountRootView(root);
await root.load();
