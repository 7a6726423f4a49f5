// Package sources is where a machine's attestation collateral comes from, in the order of attestation.md section 11.1: a
// store of signed originals on its disk, caching services, Intel's service, bundles in files.
//
// It owns the store's folder and the files of bundles, and makes the cache that asks them all. Asking, renewing and judging
// are measure/ratls/pcs and measure/dcap. Nobody trusts a disk: a bundle is verified before it is stored and when it is
// read back. A Store may be shared by processes; everything may be used concurrently. It refuses to store what does not
// verify and to replace collateral by older.
package sources
