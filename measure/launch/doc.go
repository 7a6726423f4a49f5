// Package launch describes the machine a TD runs on and predicts, event by event, what TDX will measure for it.
//
// It owns three things. Machine is the one launch descriptor: from the same device table it renders QEMU's command
// line for a real TD, for a rehearsal without TDX, and for the probe that reads the firmware's inputs, so that the
// three cannot drift (measure.md section 7.2). Profile holds what is known about a firmware build. Predict combines
// firmware, image, machine and probe into the ordered list of events, from which the registers follow; Explain and
// Diff are views of that list (measure.md sections 2 to 4 and 12).
//
// Machines, profiles and images come from files and are checked strictly; fw_cfg content comes from a QEMU binary
// the caller chose, and the prediction is only as good as that choice. The package starts no process, opens no
// socket and no file. All values are plain data; a Firmware and an Image are immutable after loading and may be
// shared by concurrent predictions. It refuses to predict for firmware without a profile, for machines without
// explicit addresses, and wherever two of its sources disagree.
package launch
