// The terminal of the page: logs in, shows what the server's PTY writes, and sends what is typed.
// The protocol is described in netvps/gateway/web/viewer.py.
"use strict";
(() => {
  const CREDIT = 128 * 1024; // bytes of input under way
  const PIECE = 16 * 1024;
  const ACK = 32 * 1024; // bytes drawn until the server hears of it
  const LEFT = 4000, LOGIN_ENDED = 4001; // close codes; after others from 4000 on, the person decides
  const FIRST_PAUSE = 500, LONGEST_PAUSE = 30_000, ATTEMPTS = 200;

  const byId = (id) => document.getElementById(id);
  const terminal = new Terminal({
    allowProposedApi: false,
    cursorBlink: false,
    fontFamily: 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace',
    fontSize: 14,
    macOptionIsMeta: true,
    scrollback: 5000,
    theme: {
      background: "#14171c", foreground: "#d5d9e0", cursor: "#6cb6d9", selectionBackground: "#3b5568",
      black: "#20252d", red: "#e5746b", green: "#7fc28a", yellow: "#d9b26c",
      blue: "#6cb6d9", magenta: "#b694d9", cyan: "#6cc7c1", white: "#d5d9e0",
      brightBlack: "#5c6575", brightRed: "#f0938b", brightGreen: "#9ad6a4", brightYellow: "#e8c98f",
      brightBlue: "#92cbe6", brightMagenta: "#cbb2e6", brightCyan: "#93d9d4", brightWhite: "#ffffff",
    },
  });
  const fit = new FitAddon.FitAddon();
  let socket = null;
  let attempts = 0;
  let underWay = 0; // bytes of input that the server has not taken
  let drawn = 0; // bytes that it has not heard of
  let waiting = []; // input that may not be sent yet
  let timer = 0;

  function show(id, text) {
    for (const card of ["login", "notice"]) byId(card).hidden = card !== id;
    if (id === "notice") byId("notice-text").textContent = text;
    if (id === "login") byId("login-error").textContent = text || "";
    if (id === "login") byId("key").focus();
    else if (id === "notice" && !byId("again").hidden) byId("again").focus();
    else if (!id) terminal.focus();
  }

  async function post(path, body) {
    const answer = await fetch(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
      credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(40_000),
    });
    let found = {};
    try { found = await answer.json(); } catch { /* a proxy's own page */ }
    if (!answer.ok) throw new Error(found.error || `the server answered ${answer.status}`);
    return found;
  }

  async function logIn(body) {
    try {
      welcome(await post("login", body));
    } catch (error) {
      show("login", error.message);
    }
  }

  function welcome(login) {
    document.title = login.server ? `${login.user}@${login.server} – netvps` : "netvps";
    attempts = 0;
    if (socket) { // of the login before
      const old = socket;
      socket = null;
      old.close();
    }
    connect();
  }

  // The terminal's connection

  function connect() {
    clearTimeout(timer);
    if (socket) return;
    const url = new URL("terminal", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    underWay = drawn = 0;
    waiting = [];
    const own = socket = new WebSocket(url);
    own.binaryType = "arraybuffer";
    own.onopen = () => {
      attempts = 0;
      show("");
      terminal.reset();
      fit.fit();
      sendSize();
    };
    own.onmessage = (message) => (typeof message.data === "string" ? taken(message.data) : draw(own, message.data));
    own.onclose = (event) => {
      if (socket !== own) return;
      socket = null;
      ended(event.code, event.reason);
    };
  }

  function ended(code, reason) {
    byId("again").hidden = false;
    if (code >= LEFT) terminal.reset(); // whoever comes next reads nothing of it
    if (code === LOGIN_ENDED) return show("login", reason === "log in first" ? "" : reason);
    if (code >= LEFT) return show("notice", reason || "the terminal UI ended");
    if (++attempts > ATTEMPTS) return show("notice", "the connection is lost, and the server does not come back");
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempts - 1)) * (0.5 + Math.random() / 2);
    show("notice", `${reason || "the connection is lost"}: connecting again …`);
    byId("again").hidden = attempts < 3;
    timer = setTimeout(connect, pause); // repeating is safe: a new connection starts a new terminal
    return undefined;
  }

  function draw(own, data) {
    terminal.write(new Uint8Array(data), () => {
      if (socket !== own) return; // drawn for a connection that is over
      drawn += data.byteLength;
      if (drawn >= ACK) acknowledge();
      else if (!soon) soon = setTimeout(acknowledge, 2000); // small outputs together
    });
  }

  let soon = 0;
  function acknowledge() {
    clearTimeout(soon);
    soon = 0;
    if (drawn && socket && socket.readyState === WebSocket.OPEN) {
      socket.send(JSON.stringify({ ack: drawn }));
      drawn = 0;
    }
  }

  function taken(text) {
    underWay -= JSON.parse(text).taken;
    flush();
  }

  function send(bytes) {
    for (let start = 0; start < bytes.length; start += PIECE) waiting.push(bytes.subarray(start, start + PIECE));
    flush();
  }

  function flush() {
    while (waiting.length && socket && socket.readyState === WebSocket.OPEN) {
      if (underWay + waiting[0].length > CREDIT) return;
      const piece = waiting.shift();
      underWay += piece.length;
      socket.send(piece);
    }
  }

  function sendSize() {
    if (socket && socket.readyState === WebSocket.OPEN) {
      socket.send(JSON.stringify({ columns: terminal.cols, rows: terminal.rows }));
    }
  }

  // The terminal

  const encoder = new TextEncoder();
  terminal.loadAddon(fit);
  terminal.open(byId("terminal"));
  fit.fit();
  terminal.onData((text) => send(encoder.encode(text)));
  terminal.onBinary((text) => send(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
  terminal.onResize(sendSize);
  new ResizeObserver(() => fit.fit()).observe(byId("terminal"));

  // OSC 52: programs write the clipboard, and never read it.
  terminal.parser.registerOscHandler(52, (text) => {
    const found = /^[a-z0-9]*;([A-Za-z0-9+/=]*)$/.exec(text);
    if (found && found[1].length < 200_000) {
      try {
        const bytes = Uint8Array.from(atob(found[1]), (letter) => letter.charCodeAt(0));
        navigator.clipboard?.writeText(new TextDecoder().decode(bytes)).catch(() => {});
      } catch { /* no base64 */ }
    }
    return true;
  });

  // Ctrl+Shift+C copies, as in other terminals; a selection under an app that uses the mouse: with Shift held.
  terminal.attachCustomKeyEventHandler((event) => {
    if (event.type === "keydown" && event.ctrlKey && event.shiftKey && event.code === "KeyC") {
      if (terminal.hasSelection()) navigator.clipboard?.writeText(terminal.getSelection()).catch(() => {});
      event.preventDefault();
      return false;
    }
    return !(event.ctrlKey && event.shiftKey && event.code === "KeyV"); // the browser pastes
  });

  // The page

  byId("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = byId("key");
    const button = event.target.querySelector("button");
    button.disabled = true;
    await logIn({ key: key.value });
    button.disabled = false;
    key.value = "";
  });
  byId("again").addEventListener("click", () => {
    attempts = 0;
    connect();
  });
  byId("logout").addEventListener("click", async () => {
    clearTimeout(timer);
    try {
      await post("logout", {});
      show("login", "");
    } catch (error) {
      show("notice", error.message);
    }
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && timer && attempts && !socket) connect();
  });

  async function start() {
    const link = new URLSearchParams(location.hash.slice(1)).get("link");
    if (link) {
      history.replaceState(null, "", location.pathname + location.search);
      return logIn({ link });
    }
    try {
      const answer = await fetch("session", { credentials: "same-origin", cache: "no-store" });
      const login = await answer.json();
      if (!answer.ok) throw new Error(login.error || `the server answered ${answer.status}`);
      return login.user ? welcome(login) : show("login");
    } catch (error) {
      return show("login", error.message);
    }
  }
  start();
  window.addEventListener("hashchange", start); // a link that is opened in this tab
})();
