// Package supervise runs the guest's services: it starts them in order, waits until each is ready, restarts them
// within a budget, and stops them in reverse order (image.md section 15).
//
// It owns the processes it starts, their cgroups and the verdict "this service is beyond saving"; what that verdict
// means (withdraw readiness, power off) is the caller's. Services are data. It trusts the commands it is given and
// nothing the processes print. One Supervisor is safe for concurrent use; Stop waits for every goroutine it started.
// It refuses to start a service twice under one name and to wait without a deadline.
package supervise
