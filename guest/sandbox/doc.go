// Package sandbox confines the inference engine: a large body of other people's code that reads prompts
// (image.md section 16).
//
// It owns the confinement, in three steps. Command (in PID 1) starts `init sandbox` in new pid, mount, network, ipc
// and uts namespaces. Enter (in that child, pid 1 of its namespace) composes the root from verified layers, brings up
// the loopback and starts `init sandbox-exec`. Exec (in the grandchild) changes root, drops every capability, becomes
// an ordinary user, installs the seccomp filter and executes the engine. The engine has no route out, no /dev/tdx_guest,
// no configfs, no vsock, and nobody's secrets.
//
// It trusts its caller's Spec, which comes from measured configuration, and nothing the engine does. The functions
// are called once per process; Command may be used concurrently. It refuses to run an engine as root, to bind a
// writable folder outside the socket folder, and to weaken the filter from configuration.
package sandbox
