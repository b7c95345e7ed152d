#include "bliss/inference/gather.hpp"

#include "bliss/catalog/writer.hpp"
#include "bliss/comm/agree.hpp"
#include "bliss/core/error.hpp"
#include "bliss/inference/field_record.hpp"

#include <fmt/format.h>

#include <cstring>
#include <numeric>
#include <sstream>

namespace bliss::inference {
namespace {

constexpr int k_items_tag = 11;

/// A field that a rank is to write.
struct Item {
    std::int64_t index;
    shard::LocatedEntry located;
};
static_assert(comm::Transferable<Item>);

std::int64_t bytes_of(const Item& item) {
    const auto& bytes = item.located.entry.bytes;
    return std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0});
}

/// @throws DataError for a field without a record
std::vector<Item> items_of(const shard::JournalFolder::Scan& found, const FieldList& fields) {
    std::vector<Item> items;
    for (const FieldId& id : fields.ids()) {
        const auto entry = found.entries.find(id);
        if (entry == found.entries.end()) throw DataError(fmt::format("field {} is in no journal; run again", to_string(id)));
        items.push_back({std::ssize(items), entry->second});
    }
    return items;
}

/// Where each rank's run of items begins, and the end.
std::vector<std::size_t> cut(const std::vector<Item>& items, int ranks) {
    std::int64_t total = 0, before = 0;
    for (const Item& item : items) total += bytes_of(item);
    std::vector<std::size_t> begins{0};
    for (std::size_t k = 0; k < items.size(); ++k) {
        // A rank's run ends with the item that fills its share.
        while (std::ssize(begins) < ranks &&
               static_cast<double>(before) >= static_cast<double>(total) * static_cast<double>(begins.size()) / ranks)
            begins.push_back(k);
        before += bytes_of(items[k]);
    }
    begins.resize(static_cast<std::size_t>(ranks) + 1, items.size());
    return begins;
}

/// This rank's part of rank 0's items. @collective
std::vector<Item> scattered(const std::vector<Item>& all, const comm::Communicator& comm) {
    if (comm.rank() != 0) {
        const std::string bytes = comm.receive_text(0, k_items_tag);
        std::vector<Item> mine(bytes.size() / sizeof(Item));
        std::memcpy(mine.data(), bytes.data(), mine.size() * sizeof(Item));
        return mine;
    }
    const std::vector<std::size_t> begins = cut(all, comm.size());
    for (int rank = 1; rank < comm.size(); ++rank) {
        const auto k = static_cast<std::size_t>(rank);
        comm.send(std::string(reinterpret_cast<const char*>(all.data() + begins[k]), (begins[k + 1] - begins[k]) * sizeof(Item)), rank,
                  k_items_tag);
    }
    return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(begins[1])};
}

}  // namespace

Totals gather(const std::filesystem::path& path, const shard::JournalFolder& journals, const shard::JournalFolder::Scan& found,
              const FieldList& fields, const catalog::Provenance& provenance, const comm::Communicator& comm) {
    std::vector<Item> all;
    std::string joined;
    comm::agree_on(comm, [&] {
        if (comm.rank() != 0) return;
        all = items_of(found, fields);
        for (const std::string& name : found.names) joined += name + '\n';
    });
    comm.broadcast(joined);
    std::vector<std::string> names;
    std::istringstream lines{joined};
    for (std::string name; std::getline(lines, name);) names.push_back(name);

    const std::vector<Item> mine = scattered(all, comm);
    std::vector<catalog::LocalField> local;
    for (const Item& item : mine) {
        local.push_back({item.index, source_count(item.located.entry), sample_count(item.located.entry)});
    }
    std::vector<std::int64_t> totals(3);
    const auto from = [&](std::size_t i) { return journals.path_of(names[static_cast<std::size_t>(mine[i].located.journal)]); };
    const catalog::RowLoaders load{[&](std::size_t i) {
                                       totals[0] += mine[i].located.entry.status != 0 ? 1 : 0;
                                       totals[1] += local[i].source_count;
                                       return read_row(from(i), mine[i].located.entry);
                                   },
                                   [&](std::size_t i) {
                                       std::vector<catalog::SourceRow> rows = read_sources(from(i), mine[i].located.entry);
                                       for (const auto& row : rows) totals[2] += (row.flags & catalog::k_flag_mode) != 0 ? 1 : 0;
                                       return rows;
                                   },
                                   [&](std::size_t i) { return read_samples(from(i), mine[i].located.entry); }};
    catalog::write_catalog(path, comm, local, load, provenance);
    comm.all_reduce_sum(std::span<std::int64_t>{totals});
    return {totals[0], totals[1], totals[2]};
}

}  // namespace bliss::inference
