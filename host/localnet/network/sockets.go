package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	// socketsName is a link, in the network's folder, to the folder of its sockets: whoever starts the next network finds
	// what a killed one has left.
	socketsName   = "sockets"
	socketsPrefix = "localnet-"
	// maxSocketPath is what sun_path of unix(7) holds besides its end, longestSocket the longest name within the folder.
	maxSocketPath = 107
	longestSocket = "worker-16.sock"
)

// makeSockets makes a folder for unix sockets, whose paths must be short, among the temporary files.
func makeSockets(dir string) (string, error) {
	made, err := os.MkdirTemp("", socketsPrefix)
	if err != nil {
		return "", fmt.Errorf("making folder for sockets: %w", err)
	}
	if n := len(filepath.Join(made, longestSocket)); n > maxSocketPath {
		err = fmt.Errorf("making folder for sockets: %s leads to paths of %d bytes, unix sockets have at most %d: set TMPDIR to a shorter one", made, n, maxSocketPath)
	} else if linkErr := os.Symlink(made, filepath.Join(dir, socketsName)); linkErr != nil {
		err = fmt.Errorf("making folder for sockets: %w", linkErr)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(made))
	}
	return made, nil
}

// clearSockets removes the folder of a network's sockets, and the link to it.
func clearSockets(dir string) error {
	link := filepath.Join(dir, socketsName)
	to, err := os.Readlink(link)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if filepath.IsAbs(to) && strings.HasPrefix(filepath.Base(to), socketsPrefix) { // as makeSockets made it
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	return os.Remove(link)
}
