# SPDX-License-Identifier: LGPL-2.1-or-later
# workload.pl - real work with a result that does not depend on the run.
use strict;
use warnings;
use threads;
use Digest::SHA qw(sha256_hex);
use Data::Dumper;

$Data::Dumper::Sortkeys = 1;

sub tree_digest {
    my ($seed) = @_;
    my %tree;
    for my $i (1 .. 5000) {
        my $key = join '/', 'k' . ($i % 17), 'l' . ($i % 101), 'm' x ($i % 53);
        push @{ $tree{$key} }, { id => $i * $seed, text => 'x' x ($i % 257) };
    }
    delete $tree{$_} for grep { /m{40,}$/ } sort keys %tree;
    my $text = Dumper(\%tree);
    my $count = () = $text =~ /'id' => (\d+)/g;
    $text =~ s/x{100,}/@{[ 'y' x 300 ]}/g;
    return "$count " . sha256_hex($text);
}

print tree_digest($_), "\n" for 1 .. 2;
my @threads = map { my $n = $_; threads->create(sub { tree_digest($n) }) } 1 .. 4;
print $_->join, "\n" for @threads;
for my $n (1 .. 8) {
    my $child = open(my $pipe, '-|') // die "fork: $!";
    if ($child == 0) {
        print sha256_hex(join ',', map { $_ x $n } 1 .. 20000);
        exit 0;
    }
    print "child $n: ", <$pipe>, "\n";
    close $pipe or die "child $n failed";
}
my $line = '';
$line .= chr(65 + $_ % 26) x 40 for 1 .. 50000;
print length($line), ' ', sha256_hex($line), "\n";
