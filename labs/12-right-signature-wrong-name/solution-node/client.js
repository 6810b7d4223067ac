// The exam client: sends pin.txt to HOST PORT, and prints the answer.
const fs = require("node:fs");
const tls = require("node:tls");

const [host, port] = process.argv.slice(2);
const server = tls.connect({
  host,
  port,
  servername: "exams.school.test",
  ca: fs.readFileSync("ca.pem"),
});
server.on("secureConnect", () => server.write(fs.readFileSync("pin.txt")));
server.on("data", (answer) => {
  console.log(answer.toString().trim());
  server.end();
});
