// Package vectors runs the tests of other packages that compare stored values with the pinned inputs themselves: the
// firmware, the kernel, the stub, the engine. Those tests skip where the files are missing; here the files are fetched
// by hash, laid out, and named to them through their environment variables.
//
// It owns the list of such packages and of their variables. It trusts the lock. It refuses a run in which such a test
// was skipped all the same.
package vectors
