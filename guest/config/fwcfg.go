package config

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
)

const (
	// FWConfigRoot is where the qemu_fw_cfg module shows the items by name.
	FWConfigRoot = "/sys/firmware/qemu_fw_cfg/by_name"
	// FWConfigItem is our item (image.md section 14).
	FWConfigItem = "opt/org.cocoon/config"
	// MaxFWConfig bounds it: fw_cfg is read a port access at a time.
	MaxFWConfig = 64 << 10
)

// ReadFWConfig reads the configuration from fw_cfg: the same container as on the disk. It is for debug and test images;
// production images do not carry the module, and their boot has no way here. An absent item is fs.ErrNotExist.
func ReadFWConfig(byName fs.FS) (*Document, error) {
	f, err := byName.Open(FWConfigItem + "/raw")
	if err != nil {
		return nil, fmt.Errorf("opening fw_cfg item %s: %w", FWConfigItem, err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, MaxFWConfig+1))
	if err != nil {
		return nil, fmt.Errorf("reading fw_cfg item %s: %w", FWConfigItem, err)
	}
	if len(data) > MaxFWConfig {
		return nil, fmt.Errorf("reading fw_cfg item %s: longer than %d bytes; attach a config disk instead", FWConfigItem, MaxFWConfig)
	}
	doc, err := ReadDisk(bytes.NewReader(data), uint64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("reading fw_cfg item %s: %w", FWConfigItem, err)
	}
	return doc, nil
}
