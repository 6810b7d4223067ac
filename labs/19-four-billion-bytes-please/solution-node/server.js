// Sends every message back: four bytes of length, most significant first, then text in UTF-8.
const net = require("node:net");

const LONGEST = 65536;
const strict = new TextDecoder("utf-8", { fatal: true });

net.createServer({ allowHalfOpen: true }, (socket) => {
  let held = Buffer.alloc(0);
  socket.on("data", (data) => {
    held = Buffer.concat([held, data]);
    while (held.length >= 4) {
      const length = held.readUInt32BE(0);
      if (length > LONGEST) return socket.destroy();
      if (held.length < 4 + length) return;
      const message = held.subarray(0, 4 + length);
      held = held.subarray(4 + length);
      try {
        strict.decode(message.subarray(4));
      } catch {
        return socket.destroy();
      }
      socket.write(message);
    }
  });
  socket.on("end", () => socket.end());
  socket.on("error", () => socket.destroy());
}).listen({{port}}, "127.0.0.1");
