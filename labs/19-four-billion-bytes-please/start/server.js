// Sends every message back: four bytes of length, most significant first, then text in UTF-8.
const net = require("node:net");

net.createServer({ allowHalfOpen: true }, (socket) => {
  socket.on("data", (data) => {
    const length = data.readUInt32BE(0);
    const text = Buffer.alloc(length);
    data.copy(text, 0, 4);
    socket.write(Buffer.concat([data.subarray(0, 4), text]));
  });
  socket.on("end", () => socket.end());
}).listen({{port}}, "127.0.0.1");
