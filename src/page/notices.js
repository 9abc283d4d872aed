// What the page says by itself: that its server is gone, and that a file was removed. Gradio does the first when a visitor
// acts, and the second not at all.
{
    const MINUTES = document.currentScript.dataset.minutes;
    const EVERY_MS = 2500, PATIENCE_MS = 8000, SHOWN_MS = 15000, FAILURES = 2;
    const STOPPED = "The server of this page has stopped, or cannot be reached. The page loads anew by itself when it is back.";
    const LOST = "The file could not be fetched: the server of this page cannot be reached.";
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
    document.addEventListener("error", ({target}) => target.src?.includes("/file=") && there(target.src), true);
}
