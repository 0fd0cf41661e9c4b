-- SPDX-License-Identifier: LGPL-2.1-or-later
-- workload.lua - tables, strings, coroutines and collections, with a result that never changes.
local function checksum(text)
    local sum = 0
    for i = 1, #text, 7 do
        sum = (sum * 31 + text:byte(i)) % 1000000007
    end
    return sum
end

local function tree(depth)
    if depth == 0 then
        return {}
    end
    return { tree(depth - 1), tree(depth - 1) }
end

local function nodes(node)
    local count = 1
    for _, child in ipairs(node) do
        count = count + nodes(child)
    end
    return count
end

for round = 1, 4 do
    collectgarbage(round % 2 == 0 and "generational" or "incremental")
    print("nodes", nodes(tree(14)))
    local parts = {}
    for i = 1, 60000 do
        parts[#parts + 1] = ("%d:%s"):format(i, ("ab"):rep(i % 19))
    end
    local text = table.concat(parts, ",")
    print("text", #text, checksum(text), select(2, text:gsub("ba", "")))
    table.sort(parts)
    print("sorted", parts[1], parts[#parts])
    local map = {}
    for i = 1, 60000 do
        map["k" .. i] = { i, i * 2 }
    end
    for i = 1, 60000, 2 do
        map["k" .. i] = nil
    end
    local sum = 0
    for _, pair in pairs(map) do
        sum = sum + pair[2]
    end
    print("map", sum)
end

local total = 0
for i = 1, 3000 do
    local routine = coroutine.wrap(function()
        for j = 1, 3 do
            coroutine.yield(i * j)
        end
    end)
    total = total + routine() + routine() + routine()
end
collectgarbage()
print("coroutines", total)
