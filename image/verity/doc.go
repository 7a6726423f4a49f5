// Package verity writes and checks dm-verity volumes: superblock version 1, hash type 1, SHA-256, 4096-byte data and
// hash blocks, the tree stored top level first (image.md section 6.1).
//
// It owns the bytes of the hash area and the rules that derive salts and UUIDs from content, so that a volume has no
// randomness. Data is read by reference and may be larger than memory: a call holds one run of blocks per processor
// and data size / 16384 bytes of digests. Calls use every processor and wait for their own goroutines; distinct calls
// are independent. It trusts nothing it reads: Verify believes only the root hash of the Volume it is given. It
// refuses other block sizes, other hash functions and data that is not a whole number of blocks. It does not activate
// anything; the guest has its own ioctls.
package verity
