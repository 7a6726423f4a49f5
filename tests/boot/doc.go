// Package boot starts machines in QEMU: the project's images, to read what they say about themselves, and real
// firmware with a software TPM, to compare what it logs with what measure/launch predicts.
//
// It owns the running of virtual machines in tests: the command line comes from measure/launch, the images from
// image/pipeline, and assertions read the stage JSON of guest/boot, or the files that dumpinit prints. Only a kernel
// panic, which no stage can report, is looked for in the console. Software emulation is enough; COCOON_TEST_ACCEL=kvm
// uses the processor. It trusts QEMU. A machine belongs to one test, two run at a time, and none outlives the test
// program. The package refuses to wait without a deadline and to judge a machine that printed no stage.
//
// The tests belong to the group boot of COCOON_TEST and take about five minutes on two idle cores: give `go test` a
// -timeout of 30m.
package boot
