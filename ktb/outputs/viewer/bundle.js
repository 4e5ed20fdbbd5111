// Read a bundle: a safetensors file whose metadata hold the run's header (docs/bundle.md).

const FORMAT = 1;
const TYPES = { U8: Uint8Array, U16: Uint16Array, I32: Int32Array, F32: Float32Array };
export const THOUSANDTHS = 1000;

/** Half-precision numbers (as Uint16Array) to Float32Array. */
export function halfToFloat(half) {
  const out = new Float32Array(half.length);
  for (let i = 0; i < half.length; i += 1) {
    const bits = half[i];
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const sign = bits & 0x8000 ? -1 : 1;
    if (exponent === 0) out[i] = sign * fraction * 2 ** -24;
    else if (exponent === 31) out[i] = fraction ? NaN : sign * Infinity;
    else out[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return out;
}

/** The header and the arrays of a run, and of what was added to it since. */
class Bundle {
  /** @param read(name) -> {data, shape}; called once per array */
  constructor(header, names, read) {
    this.header = header;
    this.readers = new Map(names.map((name) => [name, read]));
    this.known = new Map();
  }

  /** {data, shape}, or null for an array that the bundle does not have. */
  array(name) {
    if (!this.readers.has(name)) return null;
    if (!this.known.has(name)) this.known.set(name, this.readers.get(name)(name));
    return this.known.get(name);
  }

  /** Add the arrays and layers of another bundle; those of the same name, and those that it names, are removed. */
  add(other) {
    for (const [name, read] of other.readers) {
      this.readers.set(name, read);
      this.known.delete(name);
    }
    const { layers, ablated } = this.header;
    const added = new Set([...other.header.layers.map((layer) => layer.name), ...(other.header.remove || [])]);
    this.header = {
      ...this.header, ...other.header,
      layers: [...layers.filter((layer) => !added.has(layer.name)), ...other.header.layers],
      ablated: [...new Set([...ablated, ...(other.header.ablated || [])])],
    };
  }
}

/** The bundle in an ArrayBuffer. Throws an Error for others. */
export function readBundle(buffer) {
  const view = new DataView(buffer);
  const length = Number(view.getBigUint64(0, true));
  if (length > buffer.byteLength - 8) throw new Error("This is not a bundle: its header is longer than the file.");
  const index = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const header = JSON.parse((index.__metadata__ || {}).ktb_bundle || "{}");
  if (header.format !== FORMAT) throw new Error(`This is not a bundle of format ${FORMAT}.`);
  const start = 8 + length;
  const names = Object.keys(index).filter((name) => name !== "__metadata__");
  return new Bundle(header, names, (name) => {
    const { dtype, shape, data_offsets: [from, to] } = index[name];
    const bytes = buffer.slice(start + from, start + to); // typed arrays need aligned offsets
    const data = dtype === "F16" ? halfToFloat(new Uint16Array(bytes)) : new TYPES[dtype](bytes);
    return { data, shape };
  });
}

/** Decompress a stream of gzip, as an ArrayBuffer. */
export function unzip(stream) {
  return new Response(stream.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** Decompress gzip in base64, as an ArrayBuffer. */
export function unpack(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  return unzip(new Blob([bytes]).stream());
}
