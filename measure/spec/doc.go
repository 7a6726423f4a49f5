// Package spec defines a workload's measured configuration: the files of a spec directory, the git tree hash that
// names them, the RTMR3 messages that carry that hash, and the config disk that brings the files into the guest
// (measure.md sections 9.2 and 9.3, image.md section 14.1).
//
// It owns those bytes for both sides: FromFS and EncodeDisk run where a spec is published or a VM is started,
// ParseHeader and Parse run inside the TD on whatever the host put on the disk. The parsing side trusts nothing:
// every length is checked against a constant before use, and what parses has exactly one encoding. The disk's own
// digests only tell a torn disk from a wrong one; the measurement is what protects the spec. The runtime section is
// opaque here, hostile input for its reader.
//
// All functions are pure and safe for concurrent use; parsed files alias the caller's bytes. The package reads no
// device, runs no git, extends no register, and refuses names, modes and encodings outside the format instead of
// repairing them.
package spec
