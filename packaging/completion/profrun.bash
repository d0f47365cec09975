# Completion of profrun for bash: its options, then the program and its own arguments.

_profrun()
{
    local cur prev i

    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    # From the program on it is the program's.
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --) break ;;
        --http | -o | --cpu | --heap-rate | --log) ((i++)) ;;
        -*) ;;
        *) break ;;
        esac
    done
    if ((i < COMP_CWORD)); then
        [[ ${COMP_WORDS[i]} != -- ]] || ((i++))
        if declare -F _command_offset >/dev/null; then
            _command_offset "$i"
        else
            mapfile -t COMPREPLY < <(compgen -c -f -- "$cur")
        fi
        return
    fi
    case $prev in
    --http) mapfile -t COMPREPLY < <(compgen -W '127.0.0.1:6060 unix:' -- "$cur") && return ;;
    --heap-rate) mapfile -t COMPREPLY < <(compgen -W '1 4k 64k 512k 0' -- "$cur") && return ;;
    -o | --log) mapfile -t COMPREPLY < <(compgen -f -- "$cur") && return ;;
    --cpu) return ;;
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(profrun --help 2>/dev/null |
            sed -n 's/^ *\(--*[a-z][a-z-]*\).*/\1/p')" -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -c -- "$cur")
    fi
}
complete -F _profrun profrun
