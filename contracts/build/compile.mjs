// Compiles the contracts named on the command line and prints one JSON object per line to standard output.
//   node compile.mjs COMPILER_FOLDER SOURCE_FOLDER NAME...
// The compiler is the package @ton/tolk-js inside COMPILER_FOLDER/node_modules; sources are read from SOURCE_FOLDER only.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

const [compiler, sources, ...names] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(compiler), 'package.json'));
const { runTolkCompiler, getTolkCompilerVersion } = require('@ton/tolk-js');

const read = (name) => {
  const file = path.resolve(sources, name);
  if (path.relative(path.resolve(sources), file).startsWith('..')) {
    throw new Error(`${name} lies outside the sources`);
  }
  return fs.readFileSync(file, 'utf8');
};

const version = await getTolkCompilerVersion();
for (const name of names) {
  const result = await runTolkCompiler({ entrypointFileName: `${name}.tolk`, fsReadCallback: read });
  if (result.status !== 'ok') {
    process.stderr.write(`${name}: ${result.message}\n`);
    process.exit(1);
  }
  const files = result.sourcesSnapshot.map((s) => s.filename).sort();
  process.stdout.write(JSON.stringify({ name, version, boc: result.codeBoc64, files }) + '\n');
}
