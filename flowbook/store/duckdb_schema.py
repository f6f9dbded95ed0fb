"""Tables of the DuckDB file and the documented views over them. Text only.

``kept.recorded`` is the truth, its ``body`` the JSON of the event as text, so that a drain need not parse it. The views
are what people query, and alone in the schema they see; times in them are UTC. What a run or schedule is said to be
there is what the engine says (``RunState.status``, ``ScheduleState.status``).
"""

VERSION = 1

TABLES = """
create schema if not exists kept;
create table if not exists kept.recorded(
    run varchar not null, seq integer not null, time double not null, kind varchar not null,
    step varchar, key varchar, attempt integer, item integer, body varchar not null);
create table if not exists kept.modules(digest varchar not null, name varchar not null, body varchar not null);
create table if not exists kept.idle(run varchar not null, seq integer not null);
create table if not exists kept.progress(position bigint not null, version integer not null);
create table if not exists kept.shown(digest varchar not null);
"""
"""``kept.shown`` holds the digest of the views that are in the file."""

_CLOSING = "'RunCompleted', 'RunFailed', 'RunCancelled', 'RunTerminated', 'RunContinued'"

_SETTLED = "'StepCompleted', 'StepFailed', 'StepCancelled', 'StepReused', 'StepSkipped'"


def _moment(column: str) -> str:
    """Unix seconds as a time; none for what no calendar reaches."""
    made = f"make_timestamp(cast({column} * 1000000 as bigint))"
    return f"case when {column} between -60000000000 and 250000000000 then {made} end"


_EVENTS = f"""
create or replace view events as
select run, seq, {_moment("time")} as time, kind, step, key, attempt, item, cast(body as json) as body
from kept.recorded
"""

_ATTEMPTS = f"""
create or replace view attempts as
with told as (
    select run, key, step, item, attempt,
        min(time) filter (kind in ('StepStarted', 'StepWaiting')) as began,
        bool_or(kind = 'StepWaiting') as outside,
        max(cast(body ->> '$.started' as double)) as said,
        max(time) filter (kind not in ('StepStarted', 'StepWaiting', 'StepOutput')) as finished,
        max(case kind when 'StepCompleted' then 'done' when 'StepFailed' then 'failed'
            when 'StepAttemptFailed' then 'failed' when 'StepCancelled' then 'cancelled' end) as outcome,
        max(body ->> '$.failure.type') as error_type,
        max(body ->> '$.failure.message') as error_message,
        coalesce(bool_or(cast(body ->> '$.lost' as boolean)), false) as lost,
        max(body ->> '$.worker') as worker
    from kept.recorded
    where kind in ('StepStarted', 'StepWaiting', 'StepOutput', 'StepCompleted', 'StepAttemptFailed', 'StepFailed',
        'StepCancelled') and (run, key) not in (
        select (run, key) from kept.recorded where kind in ('ChildStarted', 'SignalSent', 'CancelSent'))
    group by run, key, step, item, attempt)
select told.run, told.key, step, item, attempt,
    coalesce(outcome,
        case when closed.run is not null then 'cancelled' when outside then 'outside' else 'running' end) as status,
    {_moment("coalesce(said, began, finished)")} as started, {_moment("finished")} as ended,
    finished - coalesce(said, began, finished) as seconds,
    error_type, error_message, lost, worker
from told left join (
    select run from kept.recorded where kind in ({_CLOSING})) as closed
    on told.run = closed.run
"""

_STEPS = f"""
create or replace view steps as
with tried as (
    select run, key, any_value(step) as step, any_value(item) as item, max(attempt) as attempts,
        case when bool_or(status = 'cancelled') then 'cancelled' else arg_max(status, attempt) end as status,
        min(started) as started, arg_max(ended, attempt) as ended,
        sum(seconds) as seconds, arg_max(error_type, attempt) as error_type,
        arg_max(error_message, attempt) as error_message
    from attempts group by run, key),
settled as (
    select distinct run, key from kept.recorded where kind in ('StepFailed', 'StepCompleted', 'StepCancelled')),
closed as (
    select distinct run from kept.recorded where kind in ({_CLOSING}))
select tried.run, tried.key, step, item,
    case when status = 'failed' and settled.key is null
        then case when closed.run is null then 'retrying' else 'cancelled' end else status end as status,
    attempts, started, ended, seconds, error_type, error_message
from tried left join settled on tried.run = settled.run and tried.key = settled.key
    left join closed on tried.run = closed.run
union all
select run, key, step, item, case kind when 'StepReused' then 'reused' else 'skipped' end, 0,
    make_timestamp(cast(time * 1000000 as bigint)), make_timestamp(cast(time * 1000000 as bigint)), 0.0, null, null
from kept.recorded where kind in ('StepReused', 'StepSkipped')
union all
select asked.run, asked.key, step, item, case when closed.run is null then 'queued' else 'cancelled' end, 0,
    null, null, null, null, null
from kept.recorded as asked left join closed on asked.run = closed.run
where kind = 'StepScheduled' and (asked.run, asked.key) not in (select (run, key) from tried)
"""

_TIMERS = f"""
create or replace view timers as
with told as (
    select run, key, max(body ->> '$.label') as label, min(time) filter (kind = 'TimerStarted') as began,
        min(seq) filter (kind = 'TimerStarted') as place,
        max(cast(body ->> '$.due' as double)) as due, max(time) filter (kind <> 'TimerStarted') as finished,
        coalesce(bool_or(cast(body ->> '$.owed' as boolean)), false) as owed,
        max(case kind when 'TimerFired' then 'fired' when 'TimerCancelled' then 'cancelled' end) as outcome
    from kept.recorded where kind in ('TimerStarted', 'TimerFired', 'TimerCancelled') group by run, key),
dropped as (
    select run, owed, max(seq) as place, min(time) as time
    from kept.recorded cross join (values (true), (false)) as each(owed)
    where kind in ({_CLOSING}) or (kind = 'TerminateRequested' and not owed) group by run, owed)
select told.run, key, label, {_moment("began")} as started, {_moment("due")} as due,
    {_moment("coalesce(finished, dropped.time)")} as ended,
    coalesce(outcome, case when dropped.place > told.place then 'cancelled' else 'pending' end) as status
from told left join dropped on told.run = dropped.run and told.owed = dropped.owed
"""

_SIGNALS = f"""
create or replace view signals as
select run, seq, {_moment("time")} as time, body ->> '$.name' as name,
    case kind when 'SignalReceived' then 'received' when 'SignalAwaited' then 'awaited' else 'dropped' end as status,
    body -> '$.value.data' as value, body ->> '$.id' as id, key
from kept.recorded where kind in ('SignalReceived', 'SignalAwaited', 'SignalDropped')
"""

_VALUES = """
create or replace view "values" as
with saved as (
    select run, seq, 'result' as role, step, key, item, body -> '$.value' as value
    from kept.recorded where kind in ('StepCompleted', 'StepReused', 'RunCompleted')
    union all
    select run, seq, 'signal', body ->> '$.name', key, item, body -> '$.value'
    from kept.recorded where kind = 'SignalReceived'
    union all
    select run, seq, 'argument', name, null, null, json_extract(body, '$.arguments."' || name || '"')
    from (select run, seq, body, unnest(json_keys(body, '$.arguments')) as name
          from kept.recorded where kind = 'RunStarted'))
select run, seq, role, coalesce(step, '') as name, key, item, value ->> '$.codec' as codec,
    value ->> '$.type' as type, cast(value ->> '$.size' as bigint) as size, value ->> '$.preview' as preview,
    case when value ->> '$.codec' = 'json' then value -> '$.data' end as json, value ->> '$.file' as file
from saved
"""

_RUNS = f"""
create or replace view runs as
with heads as (
    select run, time, body from kept.recorded where kind = 'RunStarted'),
ends as (
    select run, time, kind, body from kept.recorded where kind in ({_CLOSING})),
sums as (
    select run, max(seq) as events from kept.recorded group by run),
alive as (
    select run, seq, kind, key, body from kept.recorded where run not in (select run from ends)),
marks as (
    select run, coalesce(max(seq) filter (kind = 'RunPaused'), 0)
            > coalesce(max(seq) filter (kind = 'RunResumed'), 0) as paused,
        bool_or(kind = 'RunBegan') as began, max(seq) filter (kind = 'TerminateRequested') as dropped
    from alive group by run),
keyed as (
    select run, key, bool_or(kind <> 'ChildStarted') as works,
        coalesce(arg_max(kind, seq) filter (kind in ('StepWaiting', 'StepAttemptFailed', 'StepScheduled')), '')
            = 'StepWaiting' as outside
    from alive
    where kind in ('StepStarted', 'StepWaiting', 'StepAttemptFailed', 'StepScheduled', 'ChildStarted', {_SETTLED})
    group by run, key having not bool_or(kind in ({_SETTLED}))),
awaited as (
    select run, least(coalesce(sum(more) filter (seq <= dropped), 0), 0)
        + coalesce(sum(more) filter (seq > coalesce(dropped, 0)), 0) as missing
    from (select run, seq, dropped, body ->> '$.name' as name, case kind when 'SignalAwaited' then 1 else -1 end as more
          from alive join marks using (run) where kind in ('SignalAwaited', 'SignalReceived', 'SignalDropped'))
    group by run, name),
pending as (
    select run from alive join marks using (run)
    where kind in ('TimerStarted', 'TimerFired', 'TimerCancelled') and seq > coalesce(dropped, 0)
    group by run, key having bool_and(kind = 'TimerStarted')),
waiting as (
    (select run from keyed union select run from awaited where missing > 0 union select run from pending)
    except select run from keyed where works and not outside),
labels as (
    select run, json_group_object(name, value) as attributes
    from (select run, name, arg_max(value, seq) as value
          from (select run, seq, name, json_extract(body, '$.attributes."' || name || '"') as value
                from (select run, seq, body, unnest(json_keys(body, '$.attributes')) as name
                      from kept.recorded where kind in ('RunStarted', 'AttributesSet')))
          group by run, name)
    where value <> 'null' group by run)
select heads.run as id, heads.body ->> '$.workflow' as workflow, coalesce(heads.body ->> '$.name', '') as name,
    case ends.kind when 'RunCompleted' then 'succeeded' when 'RunFailed' then 'failed'
        when 'RunCancelled' then 'cancelled' when 'RunTerminated' then 'terminated'
        when 'RunContinued' then 'continued'
        else case when paused then 'paused' when heads.body ->> '$.queue' <> '' and not began then 'queued'
            when waiting.run is not null then 'waiting' else 'running' end
    end as status,
    {_moment("heads.time")} as started, {_moment("ends.time")} as ended, ends.time - heads.time as seconds,
    sums.events, heads.body ->> '$.module' as module, coalesce(heads.body ->> '$.source', '') as source,
    heads.body ->> '$.place.folder' as folder, heads.body ->> '$.origin.run' as forked_from,
    ends.body -> '$.value.data' as result, ends.body ->> '$.failure.type' as error_type,
    ends.body ->> '$.failure.message' as error_message, ends.body ->> '$.step' as failed_step,
    coalesce(labels.attributes, '{{}}') as attributes, heads.body ->> '$.parent.run' as parent,
    heads.body ->> '$.schedule' as schedule, heads.body ->> '$.continued' as continued,
    heads.body ->> '$.queue' as queue
from heads join sums on heads.run = sums.run left join ends on heads.run = ends.run
    left join labels on heads.run = labels.run left join marks on heads.run = marks.run
    left join waiting on heads.run = waiting.run
"""
"""A wait for a signal is over when as many have come, by name, as there were waits; what terminating drops is over."""

_SCHEDULES = f"""
create or replace view schedules as
with told as (
    select substr(run, length('$schedule/') + 1) as name, seq, time, kind, body
    from kept.recorded where starts_with(run, '$schedule/')),
sums as (
    select name,
        max(seq) filter (kind = 'ScheduleSet') as set_at,
        coalesce(max(seq) filter (kind = 'ScheduleDeleted'), 0) as deleted_at,
        max(seq) filter (kind = 'SchedulePaused') as paused_at,
        max(seq) filter (kind = 'ScheduleFinished') as finished_at,
        arg_max(coalesce(cast(body ->> '$.over' as boolean), true), seq) filter (kind = 'ScheduleFinished') as over,
        coalesce(max(seq) filter (kind = 'ScheduleResumed'), 0) as resumed_at,
        max(time) filter (kind = 'ScheduleReleased' or body ->> '$.outcome' = 'started') as fired_at,
        count(*) filter (kind = 'ScheduleReleased' or body ->> '$.outcome' = 'started') as fired,
        coalesce(sum(cast(body ->> '$.count' as bigint)), 0) as skipped
    from told group by name)
select sums.name, spec.body ->> '$.spec.run.workflow' as workflow,
    case when paused_at > greatest(resumed_at, deleted_at) then 'paused'
        when over and finished_at > deleted_at then 'finished' else 'active' end as status,
    case when paused_at > greatest(resumed_at, deleted_at) then pause.body ->> '$.reason' end as reason,
    {_moment("fired_at")} as last_fired, fired, skipped,
    coalesce(spec.body ->> '$.spec.timezone', 'UTC') as timezone, spec.body ->> '$.spec.run.module' as module,
    spec.body -> '$.spec' as spec
from sums join told as spec on spec.name = sums.name and spec.seq = sums.set_at
    left join told as pause on pause.name = sums.name and pause.seq = sums.paused_at
where set_at > deleted_at
"""

_OBLIGATIONS = f"""
create or replace view obligations as
with opened as (
    select run, key, body, body ->> '$.begins' as begins from kept.recorded where kind = 'ObligationOpened'),
given as (
    select opened.run, opened.key, json_group_object(each.key, each.value -> '$.data') as arguments
    from opened, json_each(opened.body, '$.arguments') as each group by opened.run, opened.key),
returned as (
    select opened.run, opened.key, any_value(done.body -> '$.value.data') as result
    from opened join kept.recorded as done on done.run = opened.run and done.key = opened.begins
    where done.kind in ('StepCompleted', 'StepReused') group by opened.run, opened.key),
told as (
    select run, key, max(body ->> '$.name') as name, max(body ->> '$.what') as what,
        max(body ->> '$.work.name') as step, max(body ->> '$.undo.name') as undo, max(body ->> '$.note') as note,
        min(time) filter (kind = 'ObligationOpened') as since,
        min(time) filter (kind = 'ObligationSettled') as settled, max(body ->> '$.outcome') as outcome,
        count(*) filter (kind = 'ObligationOpened') as opened,
        count(*) filter (kind = 'ObligationSettled') as ended,
        count(*) filter (kind = 'ObligationFailed') as failures,
        arg_max(body ->> '$.failure.type', seq) filter (kind = 'ObligationFailed') as error_type,
        arg_max(body ->> '$.failure.message', seq) filter (kind = 'ObligationFailed') as error_message,
        arg_max_null(body ->> '$.run', seq) filter (kind in ('ObligationFailed', 'ObligationRetried')) as trying
    from kept.recorded
    where kind in ('ObligationOpened', 'ObligationSettled', 'ObligationFailed', 'ObligationRetried') group by run, key)
select told.run, told.key, name, coalesce(what, 'undo') as what,
    case when ended > 0 then coalesce(outcome, 'kept') when trying is not null then 'retrying'
        when failures > 0 then 'failed' else 'open' end as status,
    {_moment("since")} as since, {_moment("settled")} as settled, step,
    coalesce(given.arguments, '{{}}') as arguments, returned.result, undo, error_type, error_message,
    case when ended = 0 then trying end as trying, note
from told left join given on given.run = told.run and given.key = told.key
    left join returned on returned.run = told.run and returned.key = told.key
where opened > 0
"""

_CHILDREN = f"""
create or replace view children as
with settled as (
    select run, key, any_value(kind) as kind, max(time) as time
    from kept.recorded where kind in ('StepCompleted', 'StepFailed', 'StepCancelled') group by run, key)
select begun.run, begun.key, begun.step as workflow, begun.body ->> '$.run' as child,
    case when settled.kind = 'StepCompleted' then 'succeeded'
        when runs.status = 'continued' or runs.status is null
            then case settled.kind when 'StepFailed' then 'failed' when 'StepCancelled' then 'cancelled'
                else 'running' end
        else runs.status end as status,
    {_moment("begun.time")} as started, coalesce({_moment("settled.time")}, runs.ended) as ended
from kept.recorded as begun left join settled on begun.run = settled.run and begun.key = settled.key
    left join runs on runs.id = begun.body ->> '$.run'
where begun.kind = 'ChildStarted'
"""

_UPDATES = f"""
create or replace view updates as
with told as (
    select run, time, kind, body, body ->> '$.id' as id, body ->> '$.name' as name
    from kept.recorded where kind in ('UpdateReceived', 'UpdateCompleted', 'UpdateFailed')),
ends as (
    select run, time, json_extract_string(body, '$.updates[*].id') as onward
    from kept.recorded where kind in ({_CLOSING})),
sums as (
    select run, id, any_value(name) as name,
        case when bool_or(kind = 'UpdateCompleted') then 'completed'
            when bool_or(cast(body ->> '$.rejected' as boolean)) then 'rejected'
            when bool_or(kind = 'UpdateFailed') then 'failed' end as outcome,
        min(time) filter (kind = 'UpdateReceived') as began, max(time) filter (kind <> 'UpdateReceived') as finished,
        max(body ->> '$.failure.message') as error
    from told group by run, id)
select sums.run, id, name,
    coalesce(outcome, case when ends.run is null then 'received'
        when list_contains(onward, id) then 'continued' else 'cancelled' end) as status,
    {_moment("began")} as received, {_moment("coalesce(finished, ends.time)")} as ended, error
from sums left join ends on sums.run = ends.run
"""

VIEWS = (_EVENTS, _ATTEMPTS, _STEPS, _TIMERS, _SIGNALS, _VALUES, _RUNS, _SCHEDULES, _OBLIGATIONS, _CHILDREN, _UPDATES)

NAMES = (
    "runs",
    "steps",
    "attempts",
    "events",
    "values",
    "timers",
    "signals",
    "schedules",
    "obligations",
    "children",
    "updates",
)
"""The documented views."""
