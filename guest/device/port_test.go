package device

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"cocoon/measure/simtd"
)

func TestPortsAreFoundByTheirName(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{
		portClass + "/vport1p1/name":         "org.qemu.guest_agent.0\n",
		portClass + "/vport1p2/name":         "org.cocoon.simtd\n",
		portClass + "/vport2p0/dev":          "245:3\n", // a console has no name
		"dev/vport1p2":                       "",
		"dev/virtio-ports/org.cocoon.linked": "",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755), os.WriteFile(filepath.Join(root, name), []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct{ address, want string }{
		"by sysfs":       {"port:org.cocoon.simtd", "dev/vport1p2"},
		"by udev":        {"port:org.cocoon.linked", "dev/virtio-ports/org.cocoon.linked"},
		"by path":        {"port:/dev/vport1p2", "dev/vport1p2"},
		"no such name":   {"port:org.cocoon", ""},
		"no such path":   {"port:/dev/vport9p9", ""},
		"partial name":   {"port:org.cocoon.simt", ""},
		"name as a path": {"port:vport1p2", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			a, err := simtd.ParseAddress(tc.address)
			if err != nil {
				t.Fatal(err)
			}
			got, err := portNode(root, a.Path)
			switch {
			case tc.want == "" && !errors.Is(err, fs.ErrNotExist):
				t.Errorf("got %q, %v", got, err)
			case tc.want != "" && (err != nil || got != filepath.Join(root, tc.want)):
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
	if _, err := portNode(t.TempDir(), simtd.PortDir+"/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a machine without ports: %v", err)
	}
}

func TestAMachineWithoutThePortSaysSo(t *testing.T) {
	if has, err := HasPort("org.cocoon.no-such-port"); has || err != nil {
		t.Errorf("%v, %v", has, err)
	}
}
