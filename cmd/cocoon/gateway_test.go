package main

import (
	"net"
	"testing"
)

// TestOperatorsAskNinePortsAbove: two gateways of one machine have two listeners for operators, and a name wins.
func TestOperatorsAskNinePortsAbove(t *testing.T) {
	for name, tc := range map[string]struct {
		named, apps, want string
	}{
		"default":        {"", "127.0.0.1:10000", "127.0.0.1:10009"},
		"another port":   {"", "127.0.0.1:10010", "127.0.0.1:10019"},
		"never outside":  {"", "0.0.0.0:10000", "127.0.0.1:10009"},
		"IPv6":           {"", "[::1]:7", "127.0.0.1:16"},
		"named":          {"127.0.0.2:5", "127.0.0.1:10000", "127.0.0.2:5"},
		"named, no port": {"here", "127.0.0.1:10000", "here"},
	} {
		apps, err := net.ResolveTCPAddr("tcp", tc.apps)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&gatewayFlags{admin: tc.named}).adminAddress(apps); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}
