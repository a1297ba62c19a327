# fish completion of ckptctl.  Made by docs/completions.py: do not edit.
# Goes to a directory of $fish_complete_path, such as /usr/share/fish/vendor_completions.d.

function __ckptctl
    set -lx _CKPTCTL_COMPLETE complete_fish
    set -lx _TYPER_COMPLETE_FISH_ACTION get-args
    set -lx _TYPER_COMPLETE_ARGS (commandline -cp | string collect)
    set -l before (string match -r -- '^--[^=]+=' (commandline -ct))
    set -l replies (ckptctl 2>/dev/null)
    if test -n "$replies[1]" # typer says nothing by an empty line
        printf '%s\n' "$before"$replies
    else
        __fish_complete_path (commandline -ct)
    end
end

complete --command ckptctl --no-files --arguments '(__ckptctl)'
