// Repeats recorded transactions in the C++ emulator of @ton/sandbox and compares hashes.
//   node oracle.mjs MODULES_FOLDER RECORDED.json
// RECORDED.json: {config: base64, worlds: [[{account, message, lt, now, transaction, state}]]}; accounts of a world start
// as nonexistent. Prints {"equal": N, "different": [...]}.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

const [modules, recorded] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(modules), 'package.json'));
const { Executor } = require('@ton/sandbox');
const { Cell, beginCell } = require('@ton/core');

const { config, worlds } = JSON.parse(fs.readFileSync(recorded, 'utf8'));
const nothing = beginCell().storeRef(beginCell().storeBit(0).endCell()).storeUint(0, 256).storeUint(0, 64).endCell()
  .toBoc().toString('base64');
const executor = await Executor.create();
let equal = 0;
const different = [];
for (const [world, rows] of worlds.entries()) {
  const accounts = new Map();
  for (const [row, r] of rows.entries()) {
    const out = await executor.runTransaction({
      config, libs: null, verbosity: 'short', shardAccount: accounts.get(r.account) ?? nothing,
      message: Cell.fromBase64(r.message), now: r.now, lt: BigInt(r.lt), randomSeed: Buffer.alloc(32),
      ignoreChksig: false, debugEnabled: false,
    });
    if (!out.result.success) {
      different.push({ world, row, error: out.result.error });
      break;
    }
    accounts.set(r.account, out.result.shardAccount);
    const transaction = Cell.fromBase64(out.result.transaction).hash().toString('hex');
    const state = Cell.fromBase64(out.result.shardAccount).refs[0].hash().toString('hex');
    if (transaction === r.transaction && state === r.state) {
      equal++;
    } else {
      different.push({ world, row, transaction, state, want: r });
      break;
    }
  }
}
process.stdout.write(JSON.stringify({ equal, different: different.slice(0, 5) }) + '\n');
