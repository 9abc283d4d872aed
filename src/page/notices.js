// What the page says by itself: that its server is gone, that a file was removed, that a file has no preview, what the examples
// are called. Gradio does the first when a visitor acts, and the others not at all.
{
    const MINUTES = document.currentScript.dataset.minutes;
    const EVERY_MS = 2500, PATIENCE_MS = 8000, SHOWN_MS = 15000, FAILURES = 2;
    const STOPPED = "The server of this page has stopped, or cannot be reached. The page loads anew by itself when it is back.";
    const LOST = "The file could not be fetched: the server of this page cannot be reached.";
    const NO_PREVIEW = `data:image/svg+xml,${encodeURIComponent(
        `<svg xmlns="http://www.w3.org/2000/svg" width="320" height="320"><text x="160" y="165" text-anchor="middle"
        font-family="system-ui, sans-serif" font-size="14">No preview in this browser</text><style>text {fill: #64748b}
        @media (prefers-color-scheme: dark) {text {fill: #94a3b8}}</style></svg>`)}`;
    const bar = document.createElement("div");
    let server = null, failed = 0, hide;

    bar.id = "notice";
    bar.setAttribute("role", "alert");

    const say = (text, ms) => {
        clearTimeout(hide);
        bar.textContent = text;
        document.body.append(bar);
        if (ms) hide = setTimeout(() => bar.remove(), ms);
    };

    const look = async () => {
        try {
            const answer = await fetch("gradio_api/app_id", {cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS)});
            const now = (await answer.json()).app_id;
            if (server !== null && now !== server) location.reload();
            if (failed >= FAILURES) bar.remove();
            [server, failed] = [now, 0];
        } catch {
            if (++failed >= FAILURES && !bar.isConnected) say(STOPPED);
        }
        setTimeout(look, EVERY_MS);
    };
    look();

    // Whether a file of the server is still there; says so if not.
    const there = async (url) => {
        if (!url.includes("/file=")) return true;
        let answer;
        try {
            answer = await fetch(url, {method: "HEAD", cache: "no-store"});
        } catch {
            say(LOST, SHOWN_MS);
            return false;
        }
        const name = decodeURIComponent(new URL(url).pathname.split("/").pop());
        if (!answer.ok) say(`${name} was removed, since nobody used it for ${MINUTES} minutes: cut it out again.`, SHOWN_MS);
        return answer.ok;
    };

    // Gradio's download button clicks a link that is on no page, so that no listener hears it.
    const click = HTMLAnchorElement.prototype.click;
    HTMLAnchorElement.prototype.click = async function () {
        if (!this.hasAttribute("download") || await there(this.href)) click.call(this);
    };
    document.addEventListener("click", (event) => {
        const link = event.isTrusted && event.target.closest?.("a[download]");
        if (link && link.href.includes("/file=")) {
            event.preventDefault();
            link.click();
        }
    }, true);
    // Gradio's buttons of the examples hold a picture alone, which a screen reader has no word for.
    new MutationObserver(() => {
        for (const button of document.querySelectorAll(".gallery-item:not([aria-label])"))
            button.setAttribute("aria-label", `Example ${[...button.parentElement.children].indexOf(button) + 1}`);
    }).observe(document, {childList: true, subtree: true});
    // What is no picture, or one that this browser cannot show (HEIC): the server says which.
    document.addEventListener("error", async ({target}) => {
        if (target.src?.includes("/file=") && await there(target.src) && target.tagName === "IMG") target.src = NO_PREVIEW;
    }, true);
}
