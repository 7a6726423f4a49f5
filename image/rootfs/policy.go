package rootfs

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// forbidden is what may not be in a layer and why. Patterns speak of files, links and devices; an empty directory
// there is harmless. A recipe that needs a package which ships such a path names it in its remove list.
//
//nolint:gochecknoglobals // a constant table
var forbidden = []struct {
	pattern string
	why     string
}{
	{"var/cache/**", "caches differ between builders"},
	{"var/log/**", "logs differ between builds"},
	{"var/lib/apt/**", "package indexes differ between days"},
	{"var/lib/dpkg/**", "the package database records the order of installation; the SBOM lists packages"},
	{"var/lib/systemd/random-seed", "a seed in a public image is no seed"},
	{"var/lib/dbus/machine-id", "a machine id names one machine"},
	{"var/tmp/**", "temporary files have no place in an image"},
	{"tmp/**", "temporary files have no place in an image"},
	{"run/**", "run-time files have no place in an image"},
	{"dev/**", "the guest makes its own /dev"},
	{"proc/**", "the guest mounts /proc"},
	{"sys/**", "the guest mounts /sys"},
	{"etc/ssh/ssh_host_*", "a host key in a public image is no secret"},
	{"**/.ssh/**", "keys and known hosts belong to one machine"},
	{"**/.*_history", "shell history"},
	{"etc/hostname", "a host name names one machine"},
	{"etc/passwd-", "backup of an account file"},
	{"etc/group-", "backup of an account file"},
	{"etc/shadow*", "accounts of an image have no passwords"},
	{"etc/gshadow*", "accounts of an image have no passwords"},
	{"etc/.pwd.lock", "lock file of account tools"},
	{"etc/ld.so.cache", "ldconfig did not run; libraries lie in the default directories"},
	{"**/.git/**", "version control data"},
	{"**/.wh.*", "container white-out files"},
}

// checkPolicy refuses kinds of nodes, names and paths that may not be in a layer.
func checkPolicy(t *Tree, _ Rules) error {
	var errs []error
	total := 0
	for _, n := range t.Nodes() {
		if err := checkNode(n); err != nil {
			total++
			if len(errs) < maxProblems {
				errs = append(errs, fmt.Errorf("%q (from %s): %w", n.Path, n.Inode.Origin, err))
			}
		}
	}
	if total > len(errs) {
		errs = append(errs, fmt.Errorf("and %d more", total-len(errs)))
	}
	return errors.Join(errs...)
}

func checkNode(n Node) error {
	if n.Path == "." {
		return nil
	}
	if err := checkRelative(n.Path); err != nil {
		return err
	}
	switch n.Inode.Type {
	case File, Symlink, Dir:
	case CharDevice:
		return errors.New("a device node: layers have none, the guest makes its own /dev")
	default:
		return fmt.Errorf("node type %d is none of file, directory, symbolic link", n.Inode.Type)
	}
	if n.Inode.Type == Symlink {
		if err := checkTarget(n.Inode.Target); err != nil {
			return err
		}
	}
	if n.Inode.Type == Dir {
		return nil
	}
	if n.Path == "etc/machine-id" && (n.Inode.Type != File || n.Inode.Content.Size != 0) {
		return errors.New("forbidden: a machine id names one machine; the file must be empty")
	}
	return checkForbidden(n)
}

func checkForbidden(n Node) error {
	for _, f := range forbidden {
		if matchParts(strings.Split(f.pattern, "/"), strings.Split(n.Path, "/")) {
			return fmt.Errorf("forbidden by %s: %s; name it in the recipe's remove list if it must go", f.pattern, f.why)
		}
	}
	bytecode := path.Base(path.Dir(n.Path)) == "__pycache__" || path.Ext(n.Path) == ".pyc"
	if bytecode && n.Inode.Origin != OriginCompiled {
		return errors.New("forbidden: bytecode that this pipeline did not compile; it records time stamps and paths")
	}
	return nil
}
