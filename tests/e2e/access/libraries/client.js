// A client on ssh2, as editors and deployment tools in JavaScript have one.
// Usage: node client.js PORT USER KEY HOST_KEY FILE
const fs = require("node:fs");
const { Client } = require("ssh2");

const [port, username, key, hostKey, file] = process.argv.slice(2);
const client = new Client();

function run(command, input) {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, stream) => {
      if (error) return reject(error);
      const said = [];
      stream.on("data", (data) => said.push(data)).stderr.resume();
      stream.on("close", (code, signal) => resolve({ code, signal, out: Buffer.concat(said) }));
      stream.end(input);
    });
  });
}

function sftp(call) {
  return new Promise((resolve, reject) => {
    client.sftp((error, files) => {
      if (error) return reject(error);
      call(files, (failed, value) => (failed ? reject(failed) : resolve(value)));
    });
  });
}

function check(holds, what) {
  if (!holds) throw new Error(what);
}

async function all() {
  check((await run("exit 7")).code === 7, "exit 7");
  check((await run("kill -TERM $$")).signal === "SIGTERM", "death by SIGTERM");
  const sent = fs.readFileSync(file);
  check((await run("cat", sent)).out.equals(sent), "other bytes came back");
  await sftp((files, done) => files.fastPut(file, "node-client", done));
  await sftp((files, done) => files.fastGet("node-client", `${file}.back`, done));
  await sftp((files, done) => files.unlink("node-client", done));
  check(fs.readFileSync(`${file}.back`).equals(sent), "another file came back");
}

client
  .on("ready", () => all().then(() => client.end(), fail))
  .on("error", fail)
  .connect({
    host: "127.0.0.1",
    port: Number(port),
    username,
    privateKey: fs.readFileSync(key),
    hostVerifier: (found) => found.toString("base64") === hostKey,
  });

function fail(error) {
  console.error(error);
  process.exit(1);
}
