// Package ports finds TCP ports for programs that are told theirs before they listen.
//
// It owns the range that it chooses from: below the ports that the system gives to connections, any of which could take a
// port before its program does. It trusts that few others choose there, is safe for concurrent use, and refuses to go on
// where no port is free.
package ports

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Linux's net.ipv4.ip_local_port_range begins behind last; chosen by package host/localnet/network are those from 20000 on.
const first, last = 12_000, 19_999

// Free are n ports at 127.0.0.1 that nobody has, no two the same.
func Free(tb testing.TB, n int) []int {
	tb.Helper()
	const tries = 100
	var out []int
	for range n * tries {
		if len(out) == n {
			break
		}
		port := first + rand.IntN(last-first+1) //nolint:gosec // whichever is free
		l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		defer l.Close() //nolint:errcheck // held until all are found, so that they differ
		out = append(out, port)
	}
	if len(out) < n {
		tb.Fatalf("%d ports of %d are free", len(out), n)
	}
	return out
}
