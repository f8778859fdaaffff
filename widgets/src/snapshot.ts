/**
 * A snapshot is the whole state of a session in one run of bytes: it answers `hello`, and it lies in a synced trait so
 * that a saved notebook shows its curves without a kernel.
 *
 * Bytes (little-endian): uint32 length of the header | header, JSON in UTF-8, padded with spaces to 4 bytes |
 * for each curve int32 steps[n], float32 values[n].
 */
import { PROTOCOL_VERSION, type SnapshotHeader } from "./protocol";

export interface Points {
  name: string;
  received: number;
  steps: Int32Array;
  values: Float32Array;
}

export interface Snapshot {
  header: SnapshotHeader;
  curves: Points[];
}

/** Read a snapshot; null where there is none or where another version of nbkit wrote it. */
export function readSnapshot(view: DataView | null | undefined): Snapshot | null {
  if (!view || view.byteLength < 4) return null;
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const length = view.getUint32(0, true);
  if (4 + length > bytes.length) return null;
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))) as SnapshotHeader;
  if (header.version !== PROTOCOL_VERSION) return null;
  const body = bytes.slice(4 + length).buffer; // a copy, so that the arrays below start on a multiple of 4
  let at = 0;
  const curves = header.curves.map(({ name, received, n }) => {
    const steps = new Int32Array(body, at, n);
    const values = new Float32Array(body, at + 4 * n, n);
    at += 8 * n;
    return { name, received, steps, values };
  });
  return { header, curves };
}
