// Package boot starts the project's images in QEMU and reads what they say about themselves.
//
// It owns the running of virtual machines in tests: the command line comes from measure/launch, the files from
// image/pipeline, and every assertion reads the stage JSON of guest/boot, never console prose. Software emulation is
// enough; COCOON_TEST_ACCEL=kvm uses the processor. It trusts QEMU. A VM belongs to one test. The package refuses to
// wait without a deadline and to judge a machine that printed no stage.
package boot
