package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/eventlog"
	"cocoon/measure/launch"
	"cocoon/measure/launch/smbios"
	"cocoon/measure/ovmf"
)

func setupProfile(fs *flag.FlagSet) action {
	name := fs.String("name", "derived", "`name` of the new profile")
	like := fs.String("like", launch.DefaultFirmware, "built-in `profile` of a build that is alike")
	logPath := fs.String("tpm-log", "", "event log `file` of a software TPM, of a boot with -kernel")
	dmiPath := fs.String("dmi", "", "SMBIOS table `file` of a guest, /sys/firmware/dmi/tables/DMI, for the firmware's strings")
	return func(_ context.Context, e *env, operands []string) error {
		data, err := cli.ReadFile(operands[0], maxFirmware)
		if err != nil {
			return err
		}
		file, err := ovmf.Parse(data)
		if err != nil {
			return cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", operands[0], err))
		}
		base, err := launch.NamedFirmware(*like)
		if err != nil {
			return cli.Tag(cli.KindUsage, err)
		}
		var log *eventlog.Log
		if *logPath != "" {
			if log, err = readLog(*logPath, kindTPM); err != nil {
				return err
			}
		}
		p, err := launch.DeriveProfile(*name, file, base.Profile, log)
		if err != nil {
			return cli.Tag(cli.KindUsage, err)
		}
		if err := learnDMI(p, *dmiPath); err != nil {
			return err
		}
		for _, x := range []struct{ path, flag, what string }{
			{*logPath, "--tpm-log", "boot options, secure-boot state and the place of the SMBIOS event"},
			{*dmiPath, "--dmi", "the SMBIOS strings"},
		} {
			if x.path == "" {
				e.warn("without %s, %s are those of %s", x.flag, x.what, *like)
			}
		}
		out, err := json.MarshalIndent(p, "", "  ")
		if err != nil {
			return err
		}
		e.reported = true
		_, err = fmt.Fprintf(e.stdout, "%s\n", out)
		return err
	}
}

// learnDMI takes the firmware's strings from a guest's table.
func learnDMI(p *launch.FirmwareProfile, path string) error {
	if path == "" {
		return nil
	}
	table, err := cli.ReadFile(path, maxEvidence)
	if err != nil {
		return err
	}
	t := &p.SMBIOSType0
	if t.Vendor, t.Version, t.Date, err = smbios.Firmware(table); err != nil {
		return cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", path, err))
	}
	return p.Validate()
}

// readProfile reads a profile file; none for an empty name.
func readProfile(path string) ([]*launch.FirmwareProfile, error) {
	if path == "" {
		return nil, nil
	}
	data, err := cli.ReadFile(path, maxEvidence)
	if err != nil {
		return nil, err
	}
	p, err := launch.ParseFirmwareProfile(data)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", path, err))
	}
	return []*launch.FirmwareProfile{p}, nil
}
