// Package boot is the guest's way from the kernel to "ready": one table of stages and a driver that runs it
// (image.md section 15).
//
// It owns the order of the stages, their deadlines, what a failure means, and the status everybody reads: after each
// stage one console line `COCOON {json}` (schema cocoon.boot.stage/1) and the status document in /run/cocoon/boot.json
// (schema cocoon.boot/1). It trusts the measured files of the initrd and, after verification, the layers; the config
// disk is measured before it is used; serial numbers, the kernel command line and the runtime section are hostile.
//
// The driver runs one stage at a time; State belongs to the running stage. A stage that outlives its deadline is
// abandoned and the boot fails, so nothing is shared with it except what a mutex guards. Work of later parts plugs in
// through Deps.Hooks: a missing hook is a *NotInBuildError, which stops a production or debug image at the stage's
// name and is recorded as skipped in the test variant. The package offers no retry of a stage and no way to go on after
// a failure, and a shell to debug images alone: whatever starts one asks for a DebugMark.
package boot
