package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ccproxy/ccproxy/gateway/ledger/store"
)

// ledgerCommand is `ccproxy ledger`.
func ledgerCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Verify, repair, back up and export the ledger of what was spent",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(ledgerVerifyCommand(a), ledgerRepairCommand(a), ledgerBackupCommand(a), ledgerExportCommand(a))
	return cmd
}

func ledgerVerifyCommand(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read all of the ledger and say what is damaged",
		Long: `Reads every page of the database, the checksums of all lines, all sums of budgets against the lines that count in them, and
the journal. A running gateway goes on meanwhile. Exits with 1 if something is damaged.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := a.verify(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(a.out, v)
			} else {
				err = printVerification(a.out, &v)
			}
			if err == nil && !v.OK {
				return &exitError{code: 1}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// verify has the running gateway verify its ledger, and without one does it here: a damaged ledger cannot be opened.
func (a *app) verify(ctx context.Context) (v verification, err error) {
	dir := a.storageDir()
	run, err := running(dir)
	if err == nil {
		c, err := remoteAPI(run)
		if err != nil {
			return v, err
		}
		c.patient()
		err = c.ask(ctx, http.MethodPost, "/api/ledger/verify", nil, nil, &v)
		return v, err
	}
	if !errors.Is(err, errNotRunning) {
		return v, err
	}
	err = a.withStorage(dir, func() error {
		progress, done := a.progress("verified")
		defer done()
		r, err := store.Verify(ctx, dir, progress)
		if err == nil {
			v = viewReport(r)
		}
		return err
	})
	return v, err
}

// withStorage calls do while this process has the storage directory dir, which must be one with a ledger.
func (a *app) withStorage(dir string, do func() error) (err error) {
	if !exists(filepath.Join(dir, ledgerName)) {
		return fmt.Errorf("there is no ledger in %s yet", dir)
	}
	s, err := openStorage(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return do()
}

// progress tells people how far something has got; done removes that.
func (a *app) progress(what string) (p store.Progress, done func()) {
	if !terminal(a.err) {
		return nil, func() {}
	}
	last := time.Now()
	return func(done, total int64) {
		if time.Since(last) > 200*time.Millisecond {
			last = time.Now()
			_, _ = fmt.Fprintf(a.err, "\r%s of %s lines %s", formatCount(done), formatCount(total), what) // nowhere else to say it
		}
	}, func() { _, _ = fmt.Fprint(a.err, "\r\x1b[K") }
}

func printVerification(w io.Writer, v *verification) error {
	for _, p := range v.Problems {
		if _, err := fmt.Fprintln(w, p); err != nil {
			return err
		}
	}
	took := time.Duration(v.TookMS) * time.Millisecond
	if v.OK {
		_, err := fmt.Fprintf(w, "the ledger is sound: %s lines, %s sums and %s journal records read in %s\n",
			formatCount(v.Lines), formatCount(int64(v.Sums)), formatCount(int64(v.Records)), took)
		return err
	}
	_, err := fmt.Fprintf(w, "the ledger is damaged in %s places (%s lines read in %s): stop the gateway, then `ccproxy ledger repair`\n",
		formatCount(int64(len(v.Problems)+v.More)), formatCount(v.Lines), took)
	return err
}

func ledgerRepairCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "repair",
		Short: "Make a damaged ledger usable again",
		Long: `Takes over all that can be read and matches its checksum into a new database, and says what is lost. The damaged files stay
beside it. The gateway must not run. Sums of budgets that are lost are added up again from the lines that are left.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir := a.storageDir()
			return a.withStorage(dir, func() error {
				progress, done := a.progress("copied")
				r, err := store.Repair(cmd.Context(), dir, store.RepairOptions{Progress: progress})
				done()
				if err != nil {
					return err
				}
				return printRepair(a.out, r)
			})
		},
	}
}

func printRepair(w io.Writer, r *store.Repaired) error {
	if r.Found.OK() {
		_, err := fmt.Fprintf(w, "nothing to repair: the ledger is sound (%s lines)\n", formatCount(r.Found.Lines))
		return err
	}
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) } // the last line's error will do
	for _, p := range r.Found.Problems {
		say("%s\n", problemText(p))
	}
	say("\nlines     %s kept, %s lost\n", formatCount(r.Kept), formatCount(r.Lost))
	for _, id := range r.Altered {
		say("          %s did not match its checksum\n", id)
	}
	say("sums      %s kept, %s lost\n", formatCount(int64(r.SumsKept)), formatCount(int64(r.SumsLost)))
	for _, name := range r.Forgotten {
		if name == "*" {
			name = "every budget"
		}
		say("          %s is added up again from the lines\n", name)
	}
	if r.FromJournal > 0 || r.Holds > 0 {
		say("journal   %s lines taken from it, %s requests in doubt\n", formatCount(int64(r.FromJournal)), formatCount(int64(r.Holds)))
	}
	for _, name := range r.Unread {
		say("          table %s could not be read to its end\n", name)
	}
	slices.Sort(r.Broken)
	for _, path := range r.Broken {
		say("kept as   %s\n", path)
	}
	_, err := fmt.Fprintln(w, "repaired")
	return err
}

func ledgerBackupCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "backup PATH",
		Short: "Write a copy of the ledger and the keys to a new file",
		Long: `The copy is a ledger.db as it is at one moment, keys included; a running gateway goes on. Keys of the copy work only together
with the file pepper of the storage directory: keep that apart, and in a safe place.`,
		Example: `  ccproxy ledger backup /backup/ledger-$(date +%F).db`,
		Args:    func(cmd *cobra.Command, args []string) error { return usage(cobra.ExactArgs(1)(cmd, args)) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withAPI(cmd.Context(), forRecords, func(c *api) error {
				c.patient()
				body, err := c.open(cmd.Context(), http.MethodPost, "/api/ledger/backup", nil, nil)
				if err != nil {
					return err
				}
				defer body.Close()
				n, err := writeNew(args[0], body)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.out, "%s: %s bytes\n", args[0], formatCount(n))
				return err
			})
		},
	}
}

// writeNew writes a file that is not there yet, which only its owner may read, whole or not at all.
func writeNew(path string, from io.Reader) (int64, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(f, from)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return n, nil
}

func ledgerExportCommand(a *app) *cobra.Command {
	var format, since, until string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the ledger's lines, one for each attempt to have a request answered",
		Long:  "Amounts are in nano-dollars: 1,000,000,000 are one dollar.",
		Example: `  ccproxy ledger export --format csv --since 2026-11-01 > november.csv
  ccproxy ledger export | jq 'select(.outcome != "completed")'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != store.FormatJSONL && format != store.FormatCSV {
				return usage(fmt.Errorf("--format %s: want jsonl or csv", format))
			}
			q := url.Values{"format": {format}}
			if err := setMoments(q, map[string]string{"since": since, "until": until}, time.Now()); err != nil {
				return usage(err)
			}
			return a.withAPI(cmd.Context(), forRecords, func(c *api) error {
				c.patient()
				body, err := c.open(cmd.Context(), http.MethodGet, "/api/spend/export", q, nil)
				if err != nil {
					return err
				}
				defer body.Close()
				_, err = io.Copy(a.out, body)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", store.FormatJSONL, "jsonl or csv")
	complete(cmd, "format", store.FormatJSONL, store.FormatCSV)
	cmd.Flags().StringVar(&since, "since", "", "from then on: a span back from now such as 7d, a `date`, or a time (default all)")
	cmd.Flags().StringVar(&until, "until", "", "up to then; of a `date` its first moment")
	return cmd
}
