// SPDX-License-Identifier: LGPL-2.1-or-later
// workload.js - workers, buffers, JSON and compression, with a result that does not depend on the run.
'use strict';
const crypto = require('crypto');
const zlib = require('zlib');
const {execFileSync} = require('child_process');
const {Worker, isMainThread, parentPort, workerData} = require('worker_threads');

const WORKERS = 4;

function digest(data) {
    return crypto.createHash('sha256').update(data).digest('hex');
}

function work(seed) {
    const rows = [];
    for (let i = 0; i < 20000; i++) {
        rows.push({id: i * seed, name: 'n'.repeat(i % 60), tags: [i % 3, i % 5, i % 7]});
    }
    const text = JSON.stringify(rows);
    const packed = zlib.gzipSync(text);
    const same = zlib.gunzipSync(packed).toString() === text && JSON.parse(text).length === rows.length;
    const buffers = [];
    for (let i = 0; i < 2000; i++) {
        buffers.push(Buffer.alloc((i * 37) % 20000, i % 256));
    }
    return `${seed} ${same} ${digest(text)} ${digest(Buffer.concat(buffers))}`;
}

function largeArrays() {
    const numbers = new Float64Array(2000000);
    for (let i = 0; i < numbers.length; i++) {
        numbers[i] = (i * 7919) % 1000003;
    }
    numbers.sort();
    const map = new Map();
    for (let i = 0; i < 200000; i++) {
        map.set(`key${i}`, [i]);
    }
    for (let i = 0; i < 200000; i += 3) {
        map.delete(`key${i}`);
    }
    return `${numbers[1000]} ${map.size} ${digest(Buffer.from(numbers.buffer))}`;
}

function startWorker(seed) {
    return new Promise((resolve, reject) => {
        const worker = new Worker(__filename, {workerData: seed});
        let result;
        worker.on('message', (message) => { result = message; });
        worker.on('error', reject);
        worker.on('exit', (code) => code === 0 ? resolve(result) : reject(new Error(`exit ${code}`)));
    });
}

async function main() {
    console.log(largeArrays());
    const seeds = Array.from({length: WORKERS}, (_, i) => i + 1);
    console.log((await Promise.all(seeds.map(startWorker))).join('\n'));
    const keys = await Promise.all(seeds.map((seed) => new Promise((resolve, reject) =>
        crypto.scrypt(`secret${seed}`, 'salt', 32, (error, key) =>
            error ? reject(error) : resolve(key.toString('hex'))))));
    console.log(keys.join('\n'));
    const child = execFileSync(process.execPath, ['-e', 'console.log([...Array(1e5).keys()].length)']);
    console.log(child.toString());
}

if (isMainThread) {
    main().catch((error) => { console.error(error); process.exit(1); });
} else {
    parentPort.postMessage(work(workerData));
}
