package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirmq/weir/node/explain"
)

func (a *app) profileCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "profile", Aliases: []string{"profiles"}, Short: "Name clusters, and choose one of them",
		Long: `A profile is a name for how to reach a cluster: brokers, transport, TLS, timeout. The one in use counts for every command
that connects.

A flag counts before an environment variable (WEIR_BROKERS, WEIR_TRANSPORT, WEIR_TLS, WEIR_CA, WEIR_CERT, WEIR_CERT_KEY,
WEIR_TIMEOUT), that before the profile, and the profile before the default. --profile and WEIR_PROFILE choose another
profile for one command. Profiles are kept in weir/profiles.json in your configuration directory (on Linux ~/.config), or in
the file that WEIR_CONFIG names.`,
	}
	c.AddCommand(a.profileCreateCommand(), a.profileListCommand(), a.profileUseCommand(), a.profileShowCommand(), a.profileDeleteCommand())
	return c
}

func completeProfiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	all, err := readProfiles()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return all.names(), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) profileCreateCommand() *cobra.Command {
	k := &connection{}
	var use, replace bool
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a profile of the flags that are given", Args: cobra.ExactArgs(1),
		Example: `  weir profile create local --brokers 127.0.0.1:9092 --use
  weir profile create prod --brokers b1.example:9093,b2.example:9093 --tls --ca /etc/weir/ca.pem`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if name == "-" || strings.ContainsAny(name, " \t\n") || name == "" {
				return usage("%q is no name for a profile", name)
			}
			if err := k.check(); err != nil {
				return err
			}
			all, err := readProfiles()
			if err != nil {
				return err
			}
			if _, exists := all.Profiles[name]; exists && !replace {
				return usage("there is a profile %s; --replace makes it anew", name)
			}
			values := map[string]string{}
			for _, s := range profileSettings {
				if f := cmd.Flags().Lookup(s.flag); f != nil && f.Changed {
					values[s.flag] = flagText(f)
				}
			}
			if len(values) == 0 {
				return usage("an empty profile is of no use: give --brokers and what else there is to say")
			}
			all.Profiles[name] = values
			if use {
				all.use(name)
			}
			if err := all.write(); err != nil {
				return err
			}
			return a.print(map[string]any{"created": name, "in_use": all.Use == name}, "created %s\n", name)
		},
	}
	k.flags(c)
	c.PersistentPreRunE = nil // what is in use does not count here
	c.Flags().BoolVar(&use, "use", false, "use it from now on")
	c.Flags().BoolVar(&replace, "replace", false, "one that exists is made anew")
	return c
}

// flagText is a flag's value as its parser reads it.
func flagText(f *pflag.Flag) string {
	if s, ok := f.Value.(pflag.SliceValue); ok {
		return strings.Join(s.GetSlice(), ",")
	}
	return f.Value.String()
}

func (p *profiles) use(name string) {
	if p.Use != name {
		p.Previous, p.Use = p.Use, name
	}
}

func (a *app) profileListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List profiles", Args: cobra.NoArgs,
		Example: "  weir profile ls",
		RunE: func(*cobra.Command, []string) error {
			all, err := readProfiles()
			if err != nil {
				return err
			}
			names := all.names()
			if a.json() {
				return a.printLines(len(names), func(i int) any {
					return map[string]any{"name": names[i], "in_use": names[i] == all.Use, "settings": all.Profiles[names[i]]}
				})
			}
			path, err := profilePath()
			if err != nil {
				return err
			}
			if len(names) == 0 {
				a.say("there are no profiles in %s; `weir profile create NAME --brokers HOST:PORT` makes one", path)
				return nil
			}
			var rows [][]string
			for _, name := range names {
				inUse := ""
				if name == all.Use {
					inUse = "*"
				}
				var settings []string
				for _, s := range profileSettings {
					if v := all.Profiles[name][s.flag]; v != "" {
						settings = append(settings, s.flag+"="+v)
					}
				}
				rows = append(rows, []string{name, inUse, strings.Join(settings, ";")})
			}
			return a.table("PROFILE IN-USE SETTINGS", rows)
		},
	}
}

func (a *app) profileUseCommand() *cobra.Command {
	var none bool
	c := &cobra.Command{
		Use: "use NAME", Short: "Use a profile from now on", Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeProfiles,
		Long:    "Use a profile from now on. - is the one that was in use before.",
		Example: "  weir profile use prod\n  weir profile use -\n  weir profile use --none",
		RunE: func(_ *cobra.Command, args []string) error {
			if (len(args) == 1) == none {
				return usage("give the name of a profile, or --none")
			}
			all, err := readProfiles()
			if err != nil {
				return err
			}
			name := ""
			if !none {
				if name = args[0]; name == "-" {
					if name = all.Previous; name == "" {
						return usage("no profile was in use before")
					}
				}
				if _, err := loadProfile(name); err != nil {
					return err
				}
			}
			all.use(name)
			if err := all.write(); err != nil {
				return err
			}
			if none {
				return a.print(map[string]any{"in_use": nil}, "no profile is in use\n")
			}
			return a.print(map[string]any{"in_use": name}, "%s is in use\n", name)
		},
	}
	c.Flags().BoolVar(&none, "none", false, "use no profile")
	return c
}

// originJSON is one setting and where it comes from.
type originJSON struct {
	Setting string `json:"setting"`
	Value   string `json:"value"`
	From    string `json:"from"`
}

func (a *app) profileShowCommand() *cobra.Command {
	k := &connection{}
	c := &cobra.Command{
		Use: "show", Short: "Show what counts now, and where each value comes from", Args: cobra.NoArgs,
		Example: "  weir profile show\n  WEIR_TIMEOUT=5s weir profile show --profile prod",
		RunE: func(cmd *cobra.Command, _ []string) error {
			name := k.profile
			if name == "" {
				name = os.Getenv("WEIR_PROFILE")
			}
			p, err := loadProfile(name)
			if err != nil {
				return err
			}
			var lines []originJSON
			for _, s := range profileSettings {
				f := cmd.Flags().Lookup(s.flag)
				from := "default"
				switch {
				case f.Changed:
					from = "--" + s.flag
				case os.Getenv(s.variable) != "":
					from = s.variable
				case p.values[s.flag] != "":
					from = "profile " + p.name
				}
				lines = append(lines, originJSON{s.flag, flagText(f), from})
			}
			if a.json() {
				return a.printLines(len(lines), func(i int) any { return &lines[i] })
			}
			var rows [][]string
			for _, l := range lines {
				rows = append(rows, []string{l.Setting, l.Value, l.From})
			}
			return a.table("SETTING VALUE FROM", rows)
		},
	}
	k.flags(c)
	return c
}

func (a *app) profileDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME...", Aliases: []string{"rm"}, Short: "Delete profiles", Args: cobra.MinimumNArgs(1), ValidArgsFunction: completeProfiles,
		Example: "  weir profile delete prod",
		RunE: func(_ *cobra.Command, names []string) error {
			all, err := readProfiles()
			if err != nil {
				return err
			}
			for _, name := range names {
				if !slices.Contains(all.names(), name) {
					return fail(explain.ProfileNotFound, "", fmt.Errorf("there is no profile %q", name))
				}
				delete(all.Profiles, name)
				if all.Use == name {
					all.Use = ""
				}
				if all.Previous == name {
					all.Previous = ""
				}
			}
			if err := all.write(); err != nil {
				return err
			}
			return a.print(map[string]any{"deleted": names}, "deleted %s\n", strings.Join(names, ", "))
		},
	}
}
