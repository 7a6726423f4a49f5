// Package e2e asks for answers through every role at once: gateway, proxy, worker and engine, over the real protocols and
// attested connections, with TDX in software.
//
// It owns the wiring of a whole network in one process and the assertions that no single role can make: what an app sees,
// what an engine was asked, what was billed and what the receipt says must agree. It trusts the packages' own tests for
// everything else. Each test has a network of its own; none depends on another. It refuses to pass when a prompt shows up
// in a log, a metric, a page or a kept receipt of any role.
package e2e
