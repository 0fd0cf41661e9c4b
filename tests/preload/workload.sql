-- SPDX-License-Identifier: LGPL-2.1-or-later
-- workload.sql - sorts, joins, aggregates, JSON, arrays and a procedural loop with fixed results.
create table item as select i as id, i * 7919 % 1000 as owner, repeat(chr(97 + i % 26), i % 200) as name
    from generate_series(1, 60000) as i;
create index on item(owner, name);
analyze item;
select count(*), sum(length(name)), md5(string_agg(name, ',' order by id)) from item;
select owner, count(*), max(name) from item group by owner order by owner limit 30;
select a.owner, count(*) from item a join item b on a.owner = b.owner and a.id < b.id
    where a.owner < 20 group by a.owner order by a.owner;
select id, rank() over (partition by owner order by name, id) from item where owner = 5 order by id;
select md5(jsonb_agg(to_jsonb(item) order by id)::text) from item where id < 5000;
select array_length(array_agg(id), 1), md5(array_agg(id order by name, id)::text) from item;
do $$
declare
    t text := '';
begin
    for i in 1..5000 loop
        t := t || md5(i::text);
        begin
            perform 1 / (i % 7);
        exception when division_by_zero then
            t := substr(t, 2);
        end;
    end loop;
    raise notice '%', md5(t);
end
$$;
create function tree(n int) returns bigint language sql as
    'with recursive r(i) as (select 1 union all select i + 1 from r where i < n) select sum(i) from r';
select tree(50000);
select regexp_replace(repeat('abc', 1000), '(b)(c)', '\2\1', 'g') ~ '^(acb)+$';
