// Package repro holds the reproducibility check of image.md section 18 as tests: small checkouts and the committed
// light images, built twice under conditions that must not matter, and a builder that does depend on them.
//
// It owns no code but its tests. They compile with cold caches, so they run only when COCOON_TEST names repro; they
// need the Go toolchain and, for the committed images, the locked inputs or a network. Nothing is written outside of
// folders for temporary files and the user's cache of inputs.
package repro
