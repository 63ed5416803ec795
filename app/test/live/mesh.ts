/** The mesh of a live test as its Python side offers it: one line of JSON asks, one line answers. */
import { connect } from "node:net";
import { createInterface } from "node:readline";

export interface Request {
  do: "pairing" | "remove_user" | "restart_broker" | "kill_device" | "restart_device" | "sessions_ended";
  user?: string;
  device?: string;
  devices?: string[];
}

/** Asks the Python side; rejects with its words where it failed. */
export function mesh(request: Request): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(process.env["MOAMESH_CONTROL_PORT"]), "127.0.0.1");
    socket.on("error", reject);
    createInterface(socket).on("line", (line) => {
      socket.end();
      const { result, error } = JSON.parse(line) as { result: string; error: string };
      if (error) reject(new Error(error));
      else resolve(result);
    });
    socket.write(`${JSON.stringify(request)}\n`);
  });
}
