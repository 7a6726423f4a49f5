package vars_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"cocoon/measure/launch/vars"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

const (
	volume   = "7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1"
	uiApp    = "462caa21-7614-4503-836e-8ab6f4662331"
	menuApp  = "eec25bdc-67f2-4d95-b1d5-f81b2039d11d"
	bootMenu = "BootManagerMenuApp"
)

// recorded is the bytes and digest of an event by its name in vectors/measure/digests.json.
func recorded(t *testing.T) map[string]struct {
	Hex    string     `json:"hex"`
	SHA384 tdx.Digest `json:"sha384"`
} {
	t.Helper()
	type entry = struct {
		Hex    string     `json:"hex"`
		SHA384 tdx.Digest `json:"sha384"`
	}
	var file struct {
		Digests []struct {
			Name string `json:"name"`
			entry
		} `json:"digests"`
	}
	golden.JSON(t, "measure/digests.json", &file)
	out := make(map[string]entry)
	for _, d := range file.Digests {
		out[d.Name] = d.entry
	}
	return out
}

func TestVariablesEqualTheFirmwares(t *testing.T) {
	t.Parallel()
	want := recorded(t)
	data := func(vendor, name string, content ...byte) func() ([]byte, error) {
		return func() ([]byte, error) { return vars.Data(vendor, name, content) }
	}
	app := func(attributes uint32, description, file string) func() ([]byte, error) {
		return vars.FirmwareApp{Attributes: attributes, Description: description, Volume: volume, File: file}.Encode
	}
	for name, build := range map[string]func() ([]byte, error){
		"SecureBoot length 0":         data(vars.GlobalVariable, "SecureBoot"),
		"SecureBoot 00":               data(vars.GlobalVariable, "SecureBoot", 0),
		"SecureBoot 01":               data(vars.GlobalVariable, "SecureBoot", 1),
		"PK length 0":                 data(vars.GlobalVariable, "PK"),
		"KEK length 0":                data(vars.GlobalVariable, "KEK"),
		"db length 0":                 data(vars.ImageSecurity, "db"),
		"dbx length 0":                data(vars.ImageSecurity, "dbx"),
		"Boot0000 UiApp":              app(0x109, "UiApp", uiApp),
		"Boot0000 BootManagerMenuApp": app(0x109, bootMenu, menuApp),
		"Boot0001 EFI Firmware Setup": app(0x101, "EFI Firmware Setup", uiApp),
		"BootOrder {0000,0001}":       func() ([]byte, error) { return vars.BootOrder([]uint16{0, 1}), nil },
		"BootOrder {0000}; also fw_cfg BootMenu off": func() ([]byte, error) { return vars.BootOrder([]uint16{0}), nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, ok := want[name]
			if !ok {
				t.Fatal("the vectors do not have this event")
			}
			got, err := build()
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(got) != w.Hex || tdx.Sum(got) != w.SHA384 {
				t.Errorf("got  %x\nwant %s", got, w.Hex)
			}
		})
	}
}

func TestDiskOptionsEqualThoseOfABootedFirmware(t *testing.T) {
	t.Parallel()
	// Read from the variables of Debian's inteltdx build of 2026.08, started from the first of two virtio disks.
	const (
		prefix = "010000001600"
		path   = "02010c00d041030a0000000001010600%s7fff04004eac0881119f594d850ee21a522c59b2"
	)
	for name, test := range map[string]struct {
		nth  int
		slot uint8
		text string
		at   string
	}{
		"first":  {1, 0x08, "UEFI Misc Device", "0008"},
		"second": {2, 0x0b, "UEFI Misc Device 2", "000b"},
	} {
		wide, err := vars.UTF16(test.text)
		if err != nil {
			t.Fatal(err)
		}
		want := prefix + hex.EncodeToString(wide) + "0000" + strings.Replace(path, "%s", test.at, 1)
		got, err := vars.Disk(test.nth, test.slot)
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%s: got %x, want %s (%v)", name, got, want, err)
		}
	}
}

func TestGUIDsAreMixedEndian(t *testing.T) {
	t.Parallel()
	got, err := vars.ParseGUID("00112233-4455-6677-8899-aabbccddeeff")
	if want, _ := hex.DecodeString("33221100554477668899aabbccddeeff"); err != nil || !bytes.Equal(got[:], want) {
		t.Errorf("got %x (%v), want %x", got, err, want)
	}
	for _, s := range []string{"", "0011", "00112233445566778899aabbccddeeff", "00112233-4455-6677-8899-aabbccddeefg", "0011223344-55-6677-8899-aabbccddeeff"} {
		if _, err := vars.ParseGUID(s); err == nil {
			t.Errorf("GUID %q is accepted", s)
		}
	}
}

func TestTextThatHasNoSingleFormIsRefused(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]string{"NUL": "a\x00", "not ASCII": "ä", "too long": strings.Repeat("x", 1<<16+1)} {
		if _, err := vars.UTF16(s); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := vars.Data(vars.GlobalVariable, "ä", nil); err == nil {
		t.Error("a name beyond ASCII is accepted")
	}
	if _, err := vars.Data("nonsense", "PK", nil); err == nil {
		t.Error("a malformed vendor is accepted")
	}
	for name, app := range map[string]vars.FirmwareApp{
		"volume":      {Description: "x", Volume: "?", File: uiApp},
		"file":        {Description: "x", Volume: volume, File: "?"},
		"description": {Description: "\x00", Volume: volume, File: uiApp},
	} {
		if _, err := app.Encode(); err == nil {
			t.Errorf("a malformed %s is accepted", name)
		}
	}
}

func FuzzParseFirmwareApp(f *testing.F) {
	for _, app := range []vars.FirmwareApp{
		{Attributes: 0x109, Description: "UiApp", Volume: volume, File: uiApp},
		{Attributes: 0x101, Description: bootMenu, Volume: volume, File: menuApp},
		{Volume: volume, File: menuApp},
	} {
		data, err := app.Encode()
		if err != nil {
			f.Fatal(err)
		}
		got, err := vars.ParseFirmwareApp(data)
		if err != nil || got != app {
			f.Errorf("%+v became %+v (%v)", app, got, err)
		}
		f.Add(data)
		f.Add(data[:len(data)-1])
	}
	disk, err := vars.Disk(1, 8)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := vars.ParseFirmwareApp(disk); err == nil {
		f.Error("a disk is a firmware application")
	}
	f.Add(disk)
	f.Fuzz(func(t *testing.T, data []byte) {
		app, err := vars.ParseFirmwareApp(data)
		if err != nil {
			return
		}
		if again, err := app.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x became %x (%v)", data, again, err)
		}
	})
}
