package ports

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestPortsAreFreeAndNoConnectionGetsThem: somebody may listen there, and the system's own choices lie elsewhere.
func TestPortsAreFreeAndNoConnectionGetsThem(t *testing.T) {
	for _, port := range Free(t, 20) {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // test
		if port < first || port > last {
			t.Errorf("port %d", port)
		}
	}
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Skipf("the system does not tell which ports it gives to connections: %v", err)
	}
	fields := strings.Fields(string(data))
	if begin, err := strconv.Atoi(fields[0]); err != nil || begin <= last {
		t.Errorf("the system gives ports from %d on to connections, %v", begin, err)
	}
}
