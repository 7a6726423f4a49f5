// Package follow keeps one process informed of its network's root contract: what it allows and what work costs, as of one
// proven block, on a chain that may be slow, unreachable or frozen.
//
// It owns the section `root` of a role's configuration, the connection to the liteservers and its repetition, the copies on
// disk of the newest snapshot and the newest trusted block, what is said about their age, and the time that blocks have
// proven: the machine's clock is believed between it and a block's greatest age. It trusts the pinned block of its
// configuration, its monotonic clock, and its folder on disk as much as that block; proofs are chain/lite's, the rules for
// snapshots registry's. A Follower may be used concurrently and answers from memory; its goroutines end with Run. It
// refuses a root that is on another network than its configuration says, and to answer from what is older than its limit:
// until then what is known serves, and when the chain is back it goes on without a restart.
package follow
