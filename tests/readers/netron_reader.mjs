// Reads a model with Netron's own reader, and prints what its sidebar would show, as JSON:
//     node netron_reader.mjs FOLDER_OF_NETRON MODEL
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, path] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(join(folder, `${name}.js`)).href);
const base = await load('base');
const view = await load('view');

// What Netron's window is to its readers: files beside the model, and its own.
const host = {
    identifier: basename(path),
    stream: new base.BinaryStream(new Uint8Array(await readFile(path))),
    entries: new Map(),
    asset: (file) => readFile(join(folder, file), 'utf-8'),
    fetch: async (file) => new base.BinaryStream(new Uint8Array(await readFile(join(dirname(path), file)))),
    require: (id) => load(id.replace('./', '')),
    environment: () => undefined,
    event: () => undefined,
    error: (error) => { throw error; },
    exception: (error) => { throw error; },
};
const model = await new view.ModelFactoryService(host).open(host);
const [graph] = model.modules;
const names = (args) => args.flatMap((arg) => (arg.value ?? []).map((value) => value.name));
const stored = (value) => (value.initializer ? [[value.name, String(value.initializer.type)]] : []);
const values = graph.nodes.flatMap((node) => node.inputs.flatMap((arg) => arg.value ?? []));
console.log(JSON.stringify({
    format: model.format,
    producer: model.producer,
    imports: model.imports,
    metadata: model.metadata.map((entry) => [entry.name, entry.value]),
    inputs: graph.inputs.flatMap((arg) => arg.value.map((value) => [value.name, String(value.type)])),
    outputs: graph.outputs.flatMap((arg) => arg.value.map((value) => [value.name, String(value.type)])),
    nodes: graph.nodes.map((node) => [node.name, node.type.name, names(node.inputs), names(node.outputs)]),
    stored: Object.fromEntries(values.flatMap(stored)),
}));
