package sandbox

import (
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets into struct seccomp_data (linux/seccomp.h); arguments are 64 bits, low word first on x86-64.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

// Actions (linux/seccomp.h): the upper half is the action, the lower its data.
const (
	actAllow = uint32(unix.SECCOMP_RET_ALLOW)
	actKill  = uint32(unix.SECCOMP_RET_KILL_PROCESS)
	actEPERM = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.EPERM)
	actNosys = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.ENOSYS)
)

// x32Bit marks calls of the x32 ABI, which would slip past numbers written for x86-64.
const x32Bit = 0x40000000

// cloneNamespaces are the clone flags that make namespaces (linux/sched.h).
const cloneNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME

// argRule restricts one system call by its arguments; the block it compiles to ends in a verdict.
type argRule struct {
	nr    uint32
	block func() []bpf.Instruction
}

// argRules are the calls that depend on what they are asked to do.
func argRules() []argRule {
	return []argRule{
		// clone makes threads and processes, not namespaces.
		{unix.SYS_CLONE, func() []bpf.Instruction { return denyBits(0, cloneNamespaces) }},
		// clone3's flags lie in memory that a filter cannot read; ENOSYS makes libc fall back to clone.
		{unix.SYS_CLONE3, func() []bpf.Instruction { return []bpf.Instruction{bpf.RetConstant{Val: actNosys}} }},
		// Sockets of local and loopback families only: vsock is not confined by a network namespace.
		{unix.SYS_SOCKET, socketRule},
		{unix.SYS_SOCKETPAIR, func() []bpf.Instruction { return allowValues(0, unix.AF_UNIX) }},
		// personality may be asked for and left at the default.
		{unix.SYS_PERSONALITY, func() []bpf.Instruction { return allowValues(0, 0, 0xffffffff) }},
		// TIOCSTI types into a terminal, TIOCLINUX reads one.
		{unix.SYS_IOCTL, func() []bpf.Instruction { return denyValues(1, unix.TIOCSTI, unix.TIOCLINUX) }},
	}
}

// socketRule allows local and loopback families, and netlink for routing questions (libc's interface list) only.
func socketRule() []bpf.Instruction {
	return []bpf.Instruction{
		loadArg(0),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_UNIX, SkipTrue: 6},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET, SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET6, SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_NETLINK, SkipFalse: 2},
		loadArg(2),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.NETLINK_ROUTE, SkipTrue: 1},
		bpf.RetConstant{Val: actEPERM},
		bpf.RetConstant{Val: actAllow},
	}
}

func loadArg(i uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: offArgs + 8*i, Size: 4} }

func denyBits(arg, mask uint32) []bpf.Instruction {
	return []bpf.Instruction{
		loadArg(arg),
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: mask, SkipFalse: 1},
		bpf.RetConstant{Val: actEPERM},
		bpf.RetConstant{Val: actAllow},
	}
}

func allowValues(arg uint32, values ...uint32) []bpf.Instruction {
	return choose(arg, values, actAllow, actEPERM)
}

func denyValues(arg uint32, values ...uint32) []bpf.Instruction {
	return choose(arg, values, actEPERM, actAllow)
}

func choose(arg uint32, values []uint32, match, otherwise uint32) []bpf.Instruction {
	out := []bpf.Instruction{loadArg(arg)}
	for _, v := range values {
		out = append(out, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipFalse: 1}, bpf.RetConstant{Val: match})
	}
	return append(out, bpf.RetConstant{Val: otherwise})
}

// program is the whole filter: architecture, x32, argument rules, the allow table, then the default. A call that is
// known but not allowed gets EPERM; one newer than the table gets ENOSYS, so that libc falls back.
func program() ([]bpf.Instruction, error) {
	rules := argRules()
	allowed := allowedCalls()
	out := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AUDIT_ARCH_X86_64, SkipTrue: 1},
		bpf.RetConstant{Val: actKill},
		bpf.LoadAbsolute{Off: offNr, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: x32Bit, SkipFalse: 1},
		bpf.RetConstant{Val: actKill},
	}
	for _, r := range rules {
		if slices.Contains(allowed, r.nr) {
			return nil, fmt.Errorf("compiling system call filter: call %d is both allowed and restricted", r.nr)
		}
		block := r.block()
		out = append(out, bpf.JumpIf{Cond: bpf.JumpEqual, Val: r.nr, SkipFalse: uint8(len(block))}) //nolint:gosec // blocks have at most 10 instructions
		out = append(out, block...)
	}
	for _, nr := range allowed {
		out = append(out, bpf.JumpIf{Cond: bpf.JumpEqual, Val: nr, SkipFalse: 1}, bpf.RetConstant{Val: actAllow})
	}
	return append(out,
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: newestKnownCall, SkipFalse: 1},
		bpf.RetConstant{Val: actNosys},
		bpf.RetConstant{Val: actEPERM},
	), nil
}

// assemble is the filter in the kernel's form.
func assemble() ([]unix.SockFilter, error) {
	prog, err := program()
	if err != nil {
		return nil, err
	}
	raw, err := bpf.Assemble(prog)
	if err != nil {
		return nil, fmt.Errorf("assembling system call filter: %w", err)
	}
	out := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		out[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return out, nil
}
