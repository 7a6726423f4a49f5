package simtd_test

import (
	"strings"
	"testing"

	"cocoon/measure/simtd"
)

func TestAddressesAreReadAsTheyAreWritten(t *testing.T) {
	tests := map[string]struct {
		want simtd.Address
		text string // as written, if not as read
	}{
		"unix:/run/simtd.sock":            {want: simtd.Address{Network: simtd.Unix, Path: "/run/simtd.sock"}},
		"tcp:10.0.2.100:12000":            {want: simtd.Address{Network: simtd.TCP, Host: "10.0.2.100:12000"}},
		"tcp:[fd00::2]:12000":             {want: simtd.Address{Network: simtd.TCP, Host: "[fd00::2]:12000"}},
		"vsock:2:12346":                   {want: simtd.Address{Network: simtd.VSock, CID: 2, Number: 12346}},
		"port:/dev/vport1p2":              {want: simtd.Address{Network: simtd.Port, Path: "/dev/vport1p2"}},
		"port:org.cocoon.simtd":           {want: simtd.Address{Network: simtd.Port, Path: "/dev/virtio-ports/org.cocoon.simtd"}, text: "port:/dev/virtio-ports/org.cocoon.simtd"},
		"unix:relative.sock":              {want: simtd.Address{Network: simtd.Unix, Path: "relative.sock"}},
		"tcp:localhost:0":                 {want: simtd.Address{Network: simtd.TCP, Host: "localhost:0"}},
		"vsock:4294967294:4294967294":     {want: simtd.Address{Network: simtd.VSock, CID: 4294967294, Number: 4294967294}},
		"unix:/path/with:colon and space": {want: simtd.Address{Network: simtd.Unix, Path: "/path/with:colon and space"}},
	}
	for text, tc := range tests {
		got, err := simtd.ParseAddress(text)
		if err != nil || got != tc.want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
		if tc.text == "" {
			tc.text = text
		}
		if got.String() != tc.text {
			t.Errorf("%s is written as %s", text, got)
		}
	}
}

func TestAddressesThatLeadNowhereAreErrors(t *testing.T) {
	for _, text := range []string{
		"", "unix", "unix:", "udp:1.2.3.4:5", "tcp:host", "tcp::80", "tcp:host:65536", "tcp:host:http", "tcp:fd00::2:80",
		"vsock:2", "vsock:2:", "vsock:x:1", "vsock:4294967295:1", "vsock:2:-1", "port:a\nb", "unix:" + strings.Repeat("x", 256),
	} {
		if a, err := simtd.ParseAddress(text); err == nil {
			t.Errorf("%q was read as %+v", text, a)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"unix:/a", "tcp:h:1", "tcp:[::1]:1", "vsock:2:3", "port:x", "port:/dev/x", "vsock::", "tcp:]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := simtd.ParseAddress(text)
		if err != nil {
			return
		}
		if again, err := simtd.ParseAddress(a.String()); len(a.String()) <= 256 && (err != nil || again != a) {
			t.Errorf("%q becomes %q: %+v, %v", text, a, again, err)
		}
	})
}
